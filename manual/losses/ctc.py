"""CTCLoss: the likelihood of a sequence of labels of which nobody says where each one stands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from manual.examples import Example
from manual.layer import Array, Arrays
from manual.losses.base import Loss

__all__ = ["CTCLoss"]


class Paths(NamedTuple):
    """The labels with blanks around them, and how a path may go from state to state."""

    labels: Array  # l' (N, L): blank, l_1, blank, l_2, …, blank
    skip: Array  # (N, L): whether s may be reached from s - 2
    steps: Array  # T_n, how many rows of log_probs each sample has
    lengths: Array  # S_n, how many labels


class Reached(NamedTuple):
    """Logarithms of sums over paths, and which sums have a term at all."""

    log: Array
    open: Array  # bool; where False, `log` is some finite number


class CTCCache(NamedTuple):
    shape: tuple[int, ...]  # of log_probs, (T, N, C)
    batched: bool
    paths: Paths
    y: Array  # log-probabilities of the states' labels, (T, N, L)
    alpha: tuple[Reached, ...]  # of every t, (N, L)
    losses: Array  # (N,)
    feasible: Array  # (N,)


def _equations() -> Iterator[tuple[str, str]]:
    p = "e[n]"
    where = (
        f"\nwhere {p} = cases(M[n] > 0, a[M[n] - 1,n,S[n] + S[n]]"
        " + cases(S[n] > 0, a[M[n] - 1,n,S[n] + S[n] - 1], 0), 1)"
        "\nwhere a[t,n,s] = exp(x[t,n,u[n,s]]) * cases(t > 0, a[t - 1,n,s]"
        " + cases(s > 0, a[t - 1,n,s - 1], 0) + cases(k[n,s] > 0, a[t - 1,n,s - 2], 0), s < 2)"
    )
    back = (
        f"\nwhere g[t,n,c] = cases(t < M[n], sum(s, (u[n,s] == c) * a[t,n,s] * b[t,n,s] / {p}), 0)"
        "\nwhere b[t,n,s] = cases(t < M[n] - 1, o[t + 1,n,s]"
        " + cases(s < Z - 1, o[t + 1,n,s + 1], 0)"
        " + cases(s < Z - 2, cases(k[n,s + 2] > 0, o[t + 1,n,s + 2], 0), 0),"
        " (s <= S[n] + S[n]) * (s >= S[n] + S[n] - 1))"
        "\nwhere o[t,n,s] = b[t,n,s] * exp(x[t,n,u[n,s]])"
    )
    kept = f"-log({p})"
    share = "max(S[n], 1)"
    for name, output, factor in (
        ("", f"L = sum(n, {kept} / {share}) / N", f"1 / (N * {share})"),
        ("sum", f"L = sum(n, {kept})", "1"),
        ("none", f"l[n] = {kept}", "dy[n]"),
    ):
        yield f"output/{name}".removesuffix("/"), output + where
        yield (
            f"grad_log_probs/{name}".removesuffix("/"),
            f"dx[t,n,c] = -g[t,n,c] * {factor}{back}{where}",
        )


LONG, SHORT = np.array([[1, 2], [2, 1]]), np.array([1, 0, 1, 1])


class CTCLoss(Loss):
    """Connectionist temporal classification: -log of the probability of all paths of a labelling.

    A path names one of C classes at each step; reading it, repeats are joined and then blanks
    dropped. Inputs are log_probs (T, N, C), or (T, C) of one sample; targets (N, S), or all of them
    one behind the other; and how many steps and labels each sample has, (N,).

    Args:
        blank: the class that stands for no label.
        reduction: "mean" over the samples of the loss divided by the number of labels (by 1 where
            there are none), "sum", or "none".
        zero_infinity: whether a sample too short for its labels counts for nothing; otherwise its
            loss is infinite and its gradient nan.

    Raises:
        ValueError: shapes or lengths that do not fit, a label outside the classes (torch reads what
            lies behind the array).
        TypeError: labels or lengths that are not integers.
    """

    equations = dict(_equations())
    symbols = {
        "x": "log_probs", "u": "cache.paths.labels", "k": "cache.paths.skip",
        "M": "cache.paths.steps", "S": "cache.paths.lengths", "N": "cache.shape.1",
        "Z": "cache.paths.labels.shape.1",
    }  # fmt: skip
    examples = (
        Example({}, ((4, 2, 3), LONG, np.array([4, 3]), np.array([2, 1]))),
        Example(
            {"blank": 2, "reduction": "sum"},
            ((4, 2, 3), SHORT, np.array([3, 4]), np.array([1, 3])),
        ),
        Example(
            {"zero_infinity": True, "reduction": "none"},
            (
                (2, 4, 3), np.array([[1, 1], [1, 2], [0, 0], [2, 0]]),
                np.array([2, 2, 0, 2]), np.array([2, 2, 0, 0]),
            ),
            note="the first sample is too short for its labels, the third has no steps",
        ),
        Example({}, ((3, 2), np.array([1]), np.array(3), np.array(1))),
    )  # fmt: skip

    def __init__(
        self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False
    ) -> None:
        super().__init__(reduction)
        self.blank, self.zero_infinity = blank, zero_infinity

    def forward(  # type: ignore[override]
        self, log_probs: Array, targets: Array, input_lengths: Array, target_lengths: Array
    ) -> tuple[Array, CTCCache]:
        """Return the reduction of -log p(labels | log_probs), sample by sample."""
        batched = log_probs.ndim == 3
        if log_probs.ndim not in (2, 3) or not log_probs.size:
            raise ValueError(
                "CTCLoss: log_probs must be (T, N, C), or (T, C) of one sample, received shape "
                f"{tuple(log_probs.shape)}. None of the sizes may be 0."
            )
        x = log_probs if batched else log_probs[:, None]
        paths = self._paths(x.shape, targets, input_lengths, target_lengths)
        y = x[:, np.arange(x.shape[1])[:, None], paths.labels]  # (T, N, L)
        alpha = tuple(_forwards(y, paths))
        log_p, feasible = _ends(alpha[-1], paths)
        losses = np.where(feasible, -log_p, 0 if self.zero_infinity else np.inf)
        cache = CTCCache(tuple(x.shape), batched, paths, y, alpha, losses, feasible)
        losses = self._per_label(losses, paths)
        return self.averaged(losses if batched else np.reshape(losses, ())), cache

    def backward(
        self, grad_output: Array, cache: CTCCache
    ) -> tuple[tuple[Array, None, None, None], Arrays]:
        r"""Chain rule through L = -log p, p = Σ over paths π of Π_t e^(x_t,π_t), x the log_probs.

        Shapes: x, dx (T, C), labels l (S,), l' (2S + 1,) the labels with blanks between and around
        them; for each sample alike. L and dL one number, or (N,) without reduction.
        Forwards, over the paths up to step t that stand at l'_s:
            α_t(s) = e^(x_t,l'_s) (α_t-1(s) + α_t-1(s - 1) + [l'_s ≠ l'_s-2] α_t-1(s - 2))
            p = α_T(2S + 1) + α_T(2S): a path ends in the last label or the blank behind it
        Backwards, over the ways from l'_s at step t to the end, step t itself left out:
            β_t(s) = Σ e^(x_t+1,l'_r) β_t+1(r) over r = s, s + 1 and, if l'_r ≠ l'_s, s + 2
        Every path stands somewhere at step t, so p = Σ_s α_t(s) β_t(s), and x_tc occurs once in a
        path that stands at class c at step t:
            ∂p/∂x_tc = Σ_{s: l'_s = c} α_t(s) β_t(s)
        ->  dx_tc = -dL γ_tc,   γ_tc = 1/p Σ_{s: l'_s = c} α_t(s) β_t(s)
        γ_t is the probability of the classes at step t, given the labels: it sums to 1. All sums
        are of logarithms, as p itself underflows for long inputs.
        mean: dL / (N max(S, 1)) in place of dL
        Torch: nn.CTCLoss returns e^(x_tc) - γ_tc, which is the derivative by z for x =
            log_softmax(z). Passed on through a log_softmax it comes to the same, as the e^(x_tc)
            sum to 1 there and the log_softmax takes away what the sum of its upstream gradient
            is; for any other x it is not the derivative of L, and this is.
        Source: Graves et al., Connectionist Temporal Classification (2006), section 4.1, where α
            and β both count step t; section 4.2 for the gradient.
        """
        paths, n = cache.paths, np.arange(cache.shape[1])
        ways = _backwards(cache.y, paths)
        gamma = np.stack([_share(a, b, cache) for a, b in zip(cache.alpha, ways, strict=True)])
        gamma = gamma * (np.arange(len(gamma))[:, None] < paths.steps)[:, :, None]  # (T, N, L)
        dl = np.reshape(self.reduced(grad_output, cache.shape[1]), (-1,))  # (1,) or (N,)
        gamma = gamma * self._per_label(dl, paths)[:, None]
        if not self.zero_infinity:
            gamma = np.where(self._lost(cache), np.nan, gamma)
        grad = np.zeros_like(gamma, shape=cache.shape)
        grad[:, :, self.blank] -= gamma[:, :, ::2].sum(axis=2)
        for s in range(1, gamma.shape[2], 2):
            grad[:, n, paths.labels[:, s]] -= gamma[:, :, s]
        return (grad if cache.batched else grad[:, 0], None, None, None), {}

    def _per_label(self, losses: Array, paths: Paths) -> Array:
        """Divide by the numbers of labels if the reduction is the mean: losses, or gradients."""
        if self.reduction != "mean":
            return losses
        return losses / np.maximum(paths.lengths, 1).astype(losses.dtype)

    def _lost(self, cache: CTCCache) -> Array:
        """Return at which steps of which samples (T, N, 1) nothing leads to the labels."""
        steps = np.arange(cache.shape[0])[:, None] < cache.paths.steps
        return (steps & ~cache.feasible)[:, :, None]

    # ── the labels ───────────────────────────────────────────────────────────────────────────────
    def _paths(self, shape: tuple[int, ...], targets: Array, steps: Any, lengths: Any) -> Paths:
        t, n, c = shape
        if not 0 <= self.blank < c:
            raise ValueError(
                f"CTCLoss: blank must be one of the {c} classes, received {self.blank}."
            )
        steps = _lengths("input_lengths", steps, n, t)
        lengths = _lengths("target_lengths", lengths, n, None)
        _check_whole("targets", targets)
        rows = _padded(targets, lengths)
        real = np.arange(rows.shape[1]) < lengths[:, None]
        if np.any(real & ((rows < 0) | (rows >= c))):
            raise ValueError(
                f"CTCLoss: labels must be classes from 0 to {c - 1}, received targets from "
                f"{rows[real].min()} to {rows[real].max()}. Give the last layer one output per "
                "class and one for the blank."
            )
        labels = np.full((n, 2 * rows.shape[1] + 1), self.blank)
        labels[:, 1::2] = np.where(real, rows, self.blank)
        skip = np.zeros(labels.shape, dtype=bool)
        skip[:, 2:] = labels[:, 2:] != labels[:, :-2]
        return Paths(labels, skip, steps, lengths)

    def extra_repr(self) -> str:
        return f"blank={self.blank}, {super().extra_repr()}, zero_infinity={self.zero_infinity}"


class NormalisedCTC(CTCLoss):
    """CTCLoss of log-probabilities that a log_softmax made, with torch's gradient."""

    def forward(  # type: ignore[override]
        self, log_probs: Array, targets: Array, input_lengths: Array, target_lengths: Array
    ) -> tuple[Array, Any]:
        y, cache = super().forward(log_probs, targets, input_lengths, target_lengths)
        return y, (log_probs, cache)

    def backward(self, grad_output: Array, cache: Any) -> tuple[Any, Arrays]:  # type: ignore[override]
        r"""Chain rule as of CTCLoss, through x - log Σ_c e^(x_tc), which is x for such x.

        dx_tc = g_tc - e^(x_tc) Σ_c g_tc,   g CTCLoss's own gradient
        Torch: nn.functional.ctc_loss.
        Source: CTCLoss.
        """
        log_probs, own = cache
        (g, *others), params = super().backward(grad_output, own)
        return (g - np.exp(log_probs) * g.sum(axis=-1, keepdims=True), *others), params


def _check_whole(name: str, values: Array) -> None:
    if values.dtype.kind not in "iu":
        raise TypeError(
            f"CTCLoss: {name} must hold integers, received {values.dtype}. Pass "
            f"{name}.astype('int64')."
        )


def _lengths(name: str, given: Any, count: int, most: int | None) -> Array:
    """Return lengths (N,), whole numbers from 0 to `most`."""
    lengths = np.asarray(given)
    _check_whole(name, lengths)
    lengths = lengths.reshape(-1)
    if len(lengths) != count:
        raise ValueError(
            f"CTCLoss: {name} must hold one number for each of the {count} samples of log_probs, "
            f"received {len(lengths)}."
        )
    if lengths.min() < 0 or (most is not None and lengths.max() > most):
        reach = "0 or more" if most is None else f"from 0 to {most}, the steps of log_probs"
        raise ValueError(f"CTCLoss: {name} must be {reach}, received {lengths.tolist()}.")
    return lengths


def _padded(targets: Array, lengths: Array) -> Array:
    """Return the labels as rows (N, the longest one's length)."""
    longest = int(lengths.max())
    if targets.ndim == 2:
        if len(targets) != len(lengths) or targets.shape[1] < longest:
            raise ValueError(
                f"CTCLoss: targets must be ({len(lengths)}, {longest}) or longer, one row for each "
                f"sample and a place for each label, received shape {tuple(targets.shape)}."
            )
        return targets[:, :longest]
    if targets.shape != (lengths.sum(),):
        raise ValueError(
            "CTCLoss: targets must be rows (N, S), or all labels one behind the other, as many as "
            f"target_lengths counts ({lengths.sum()}), received shape {tuple(targets.shape)}."
        )
    rows = np.zeros((len(lengths), longest), dtype=targets.dtype)
    rows[np.arange(longest) < lengths[:, None]] = targets
    return rows


# ── sums over paths, as logarithms ───────────────────────────────────────────────────────────────
def _forwards(y: Array, paths: Paths) -> Iterator[Reached]:
    """Yield α_t for t = 0 … T - 1; after a sample's last step it stays."""
    state = np.arange(y.shape[2])
    here = Reached(y[0], np.tile(state < 2, (len(paths.steps), 1)))
    yield here
    for t in range(1, len(y)):
        one, two = _moved(here, 1), _moved(here, 2)
        total = _sum(
            here, one._replace(open=one.open & (state >= 1)),
            two._replace(open=two.open & paths.skip),
        )  # fmt: skip
        runs = (t < paths.steps)[:, None]
        here = Reached(
            np.where(runs, y[t] + total.log, here.log), np.where(runs, total.open, here.open)
        )
        yield here


def _backwards(y: Array, paths: Paths) -> list[Reached]:
    """Return β_t for t = 0 … T - 1, which means nothing behind a sample's last step."""
    state, last = np.arange(y.shape[2]), 2 * paths.lengths[:, None]
    end = Reached(np.zeros_like(y[0]), (state == last) | (state == last - 1))
    here, found = end, [end]
    skipped = np.roll(paths.skip, -2, axis=1)  # the first two are none
    for t in range(len(y) - 2, -1, -1):
        after = Reached(y[t + 1] + here.log, here.open)
        one, two = _moved(after, -1), _moved(after, -2)
        total = _sum(
            after, one._replace(open=one.open & (state < len(state) - 1)),
            two._replace(open=two.open & skipped),
        )  # fmt: skip
        runs = (t < paths.steps - 1)[:, None]
        here = Reached(np.where(runs, total.log, end.log), np.where(runs, total.open, end.open))
        found.append(here)
    return found[::-1]


def _moved(states: Reached, by: int) -> Reached:
    """Return what state s - by holds at s; at the ends something, which is not to be read."""

    def moved(x: Array) -> Array:
        parts = (x[:, :by], x[:, :-by]) if by > 0 else (x[:, -by:], x[:, by:])
        return np.concatenate(parts, axis=1)

    return Reached(moved(states.log), moved(states.open))


def _sum(*terms: Reached) -> Reached:
    """Return log Σ e^term over the terms that are open.

    In place of one that is not stands a smaller number, so that nothing compares what is not there.
    """
    total, some = terms[0]
    for log, is_open in terms[1:]:
        a = np.where(some, total, log - 1)
        both = _log_add(a, np.where(is_open, log, a - 1))
        total = np.where(some & is_open, both, np.where(is_open, log, total))
        some = some | is_open
    return Reached(total, some)


def _log_add(a: Array, b: Array) -> Array:
    """Return log(eᵃ + eᵇ); NumPy's own knows no complex numbers."""
    if a.dtype.kind != "c":
        return np.logaddexp(a, b)
    top = np.maximum(a, b)
    top = np.where(top == -np.inf, 0, top)
    return top + np.log(np.exp(a - top) + np.exp(b - top))


def _ends(alpha: Reached, paths: Paths) -> tuple[Array, Array]:
    """Return log p of each sample, and whether it has a path at all."""
    n, last = np.arange(len(paths.lengths)), 2 * paths.lengths
    blank = Reached(alpha.log[n, last], alpha.open[n, last])
    label = Reached(alpha.log[n, last - 1], alpha.open[n, last - 1] & (last > 0))
    log_p, some = _sum(blank, label)
    none = paths.steps == 0  # the empty path reads as no labels
    possible = some & (log_p != -np.inf)
    return np.where(none, 0, log_p), np.where(none, paths.lengths == 0, possible)


def _share(alpha: Reached, beta: Reached, cache: CTCCache) -> Array:
    """Return α β / p at one step, (N, L): the probabilities of the states, given the labels."""
    both = alpha.open & beta.open & cache.feasible[:, None]
    losses = cache.losses[:, None]
    with np.errstate(invalid="ignore"):  # infinities where it is not both
        log = alpha.log + beta.log + losses
    share = np.exp(np.where(both, log, np.zeros_like(log)))
    return np.where(both, share, 0)
