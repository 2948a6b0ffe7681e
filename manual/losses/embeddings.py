"""Losses of embeddings: vectors that should be near each other, or far apart."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from manual.distance import Distance, p_norm
from manual.examples import Example
from manual.gates.broadcasting import summed_to
from manual.layer import Array, Arrays
from manual.losses.base import Loss, Shape, ones, zero
from manual.losses.equations import TRIED, reduced

__all__ = ["CosineEmbeddingLoss", "TripletMarginLoss"]

RIGHT_ANGLE = {"the margin met exactly": {"input1": [1, 1, 1], "input2": [1, 1, -2]}}
EPSILON = float(np.float32(1e-12))  # torch's, a float32 constant in float64 too


# ── pairs ────────────────────────────────────────────────────────────────────────────────────────
class CosineCache(NamedTuple):
    x1: Array
    x2: Array
    a: Array  # |x1|² + ε, (N, 1) as all that follow
    b: Array
    r: Array  # √(a b)
    cos: Array
    y: Array
    of_y: Shape  # the target's own
    size: int  # how many losses


class CosineEmbeddingLoss(Loss):
    """Angle of two vectors: 1 - cos of alike ones (y = 1), max(0, cos - margin) of others (-1).

    Inputs are (N, D) with targets (N,), or (D,) with one target; they are stretched to one shape,
    as torch does. A target that is neither 1 nor -1 counts for nothing. Its gradient is 0.

    Args:
        margin: the cosine that unlike vectors may have.
        reduction: "mean" over the N samples, "sum", or "none".
    """

    equations = reduced(
        "n",
        "((y[n] > 0) * (1 - c[n]) + (y[n] < 0) * max(0, c[n] - margin))",
        {
            "grad_input1": "dx1[n,k] = g[n] * (x2[n,k] / r[n] - c[n] / a[n] * x1[n,k])",
            "grad_input2": "dx2[n,k] = g[n] * (x1[n,k] / r[n] - c[n] / b[n] * x2[n,k])",
        },
        "N",
        where="\nwhere g[n] = (y[n] < 0) * (c[n] - margin >= 0) - (y[n] > 0)"
        "\nwhere c[n] = s[n] / r[n]"
        "\nwhere s[n] = sum(k, x1[n,k] * x2[n,k])"
        "\nwhere r[n] = sqrt(a[n] * b[n])"
        "\nwhere a[n] = sum(k, x1[n,k]**2) + epsilon"
        "\nwhere b[n] = sum(k, x2[n,k]**2) + epsilon",
    )
    epsilon = EPSILON
    symbols = {"x1": "input1", "x2": "input2", "y": "target", "N": "cache.size"}
    examples = (
        *(
            Example(
                {**margin, **reduction},
                ((5, 3), (5, 3), np.array([1, -1, -1, 0, -1])),
                kinks={} if margin else RIGHT_ANGLE,
            )
            for margin in ({}, {"margin": -0.75}, {"margin": 0.25})
            for reduction in TRIED
        ),
        Example({}, ((3,), (3,), np.array(1))),
        Example({"margin": -1.0, "reduction": "none"}, ((4, 3), (1, 3), np.array([1, -1, -1, 1]))),
        Example({"margin": -1.0}, ((1, 3), (4, 3), np.array([-1]))),
    )  # fmt: skip

    def __init__(self, margin: float = 0.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = margin

    def forward(self, input1: Array, input2: Array, target: Array) -> tuple[Array, CosineCache]:  # type: ignore[override]
        if target.ndim > 1 or {input1.ndim, input2.ndim} != {target.ndim + 1}:
            raise ValueError(
                "CosineEmbeddingLoss: the inputs must be (N, D) and the target (N,), or (D,) with "
                f"one target, received {tuple(input1.shape)}, {tuple(input2.shape)} and "
                f"{tuple(target.shape)}."
            )
        x1, x2, y = input1, input2, np.reshape(target, (*target.shape, 1))  # y (N, 1)
        self.check_broadcast(input1=x1, input2=x2, target=y)
        a, b = _dot(x1, x1) + EPSILON, _dot(x2, x2) + EPSILON  # (N, 1)
        r = np.sqrt(a * b)
        cos = _dot(x1, x2) / r
        unlike = np.where(y == -1, np.maximum(cos - self.margin, 0), 0)
        loss = np.where(y == 1, 1 - cos, 0) + unlike
        return self.of_rows(loss), CosineCache(x1, x2, a, b, r, cos, y, target.shape, len(loss))

    def backward(
        self, grad_output: Array, cache: CosineCache
    ) -> tuple[tuple[Array, Array, Array | None], Arrays]:
        r"""Chain rule through L = 1/N Σ_n [y_n = 1] (1 - c_n) + [y_n = -1] max(0, c_n - m).

        Shapes: x1, x2 (N, D), y, c (N,), L and dL one number, or (N,) without reduction.
        c = s/r,  s = x1·x2,  r = √(a b),  a = |x1|² + ε,  b = |x2|² + ε
        ∂s/∂x1_k = x2_k,   ∂r/∂x1_k = b x1_k / r = r x1_k / a
        ->  ∂c/∂x1_k = x2_k/r - s/r² · r x1_k/a = x2_k/r - c/a x1_k;   x2 likewise, with b
        g_n = ∂L/∂c_n = 1/N ([y_n = -1] [c_n ≥ m] - [y_n = 1])   ->   dx1 = g (x2/r - c/a x1)
        added up over what was stretched;   sum and none: without 1/N
        At c = m exactly torch's clamp_min has slope 1 (its relu: 0), and so has this.
        Torch: nn.CosineEmbeddingLoss, ε = 1e-12 (as float32 holds it).
        Source: Bromley et al., Signature Verification using a Siamese Time Delay Neural Network
            (1993).
        """
        x1, x2, a, b, r, cos, y, of_y, size = cache
        push = ones((y == -1) & (cos >= self.margin), cos)
        g = self.to_rows(grad_output, size) * (push - (y == 1))  # (N, 1)
        dx1 = g * (x2 / r - cos / a * x1)
        dx2 = g * (x1 / r - cos / b * x2)
        return (summed_to(dx1, x1.shape), summed_to(dx2, x2.shape), zero(y, of_y)), {}

    def decisions(self, cache: CosineCache) -> Array:
        """Return which cosines reach the margin."""
        return cache.cos >= self.margin

    def extra_repr(self) -> str:
        return f"margin={self.margin}, {super().extra_repr()}"


def _dot(a: Array, b: Array) -> Array:
    return (a * b).sum(axis=-1, keepdims=True)


# ── triples ──────────────────────────────────────────────────────────────────────────────────────
class TripletCache(NamedTuple):
    near: Distance  # from anchor to positive
    far: Distance  # from anchor to negative
    across: Distance | None  # from positive to negative, with swap
    short: Array  # (…, 1): margin + near - the nearer of far and across
    shapes: tuple[Shape, Shape, Shape]


def _triplet_equations() -> Iterator[tuple[str, str]]:
    norms = {
        "": ("sum(k, abs({0}[n,k])**p)**(1 / p)",
             "sign({0}[n,k]) * (abs({0}[n,k]) / {1}[n])**(p - 1)"),
        "p = 0": ("sum(k, (abs({0}[n,k]) > 0))", "0 * {0}[n,k] * {1}[n]"),
        "p = inf": ("largest(k, abs({0}[n,k]))",
                    "sign({0}[n,k]) * (abs({0}[n,k]) >= {1}[n])"
                    " / sum(j, (abs({0}[n,j]) >= {1}[n]))"),
    }  # fmt: skip
    for variant, (norm, slope) in norms.items():
        where = "\nwhere g[n] = (margin + d[n] - f[n] >= 0)"
        for v, d, s, between in (
            ("u", "d", "du", "a[n,k] - b[n,k]"), ("v", "e", "dv", "a[n,k] - c[n,k]"),
            ("w", "h", "dw", "b[n,k] - c[n,k]"),
        ):  # fmt: skip
            where += f"\nwhere {v}[n,k] = {between} + eps\nwhere {d}[n] = {norm.format(v)}"
            where += f"\nwhere {s}[n,k] = {slope.format(v, d)}"
        for swap, far, share in (
            ("", "e[n]", ""), ("swap", "min(e[n], h[n])", "((e[n] < h[n]) + (e[n] <= h[n])) / 2"),
        ):  # fmt: skip
            mine = " * q[n]" if swap else ""
            rest = " * (1 - q[n])" if swap else ""
            through = (f" - dw[n,k]{rest}", f" + dw[n,k]{rest}") if swap else ("", "")
            yield from reduced(
                "n",
                "max(0, margin + d[n] - f[n])",
                {
                    "grad_anchor": f"da[n,k] = g[n] * (du[n,k] - dv[n,k]{mine})",
                    "grad_positive": f"db[n,k] = g[n] * (-du[n,k]{through[0]})",
                    "grad_negative": f"dc[n,k] = g[n] * (dv[n,k]{mine}{through[1]})",
                },
                "N",
                where=f"{where}\nwhere f[n] = {far}" + (f"\nwhere q[n] = {share}" if swap else ""),
                variant=", ".join(filter(None, (variant, swap))),
            ).items()


class TripletMarginLoss(Loss):
    """Hinge of distances: max(0, margin + d(anchor, positive) - d(anchor, negative)).

    d is the p-norm of the difference plus ε, along the last axis. The three have one number of
    axes, and are stretched to one shape, as torch does.

    Args:
        margin: by how much the negative must be farther away, above 0.
        p: of the norm: any number, 0 (how many differ) and infinity (the largest) among them.
        eps: ε.
        swap: whether the distance from positive to negative counts where it is the smaller one.
        reduction: "mean" over the N samples, "sum", or "none".

    Raises:
        ValueError: margin is not positive.
    """

    equations = dict(_triplet_equations())
    symbols = {"a": "anchor", "b": "positive", "c": "negative", "N": "cache.short.size"}
    examples = (
        *(
            Example({**settings, **reduction}, ((5, 3), (5, 3), (5, 3)))
            for settings in ({}, {"swap": True, "margin": 2.5})
            for reduction in TRIED
        ),
        *(
            Example({"p": p, "eps": eps, **more}, ((9, 4), (9, 4), (9, 4)))
            for p, eps, more in (
                (1.0, 0.0, {}), (4.0, 0.125, {"swap": True}), (0.5, 0.125, {"margin": 4.0}),
                (-1.0, 0.125, {}), (0.0, 0.0, {}), (0.0, 0.0, {"swap": True}), (math.inf, 0.0, {}),
                (math.inf, 0.0, {"swap": True, "margin": 2.0}),
            )
        ),
        Example({}, ((1, 2, 3), (2, 1, 3), (1, 1, 3))),
    )  # fmt: skip

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction)
        if not margin > 0:
            raise ValueError(f"TripletMarginLoss: margin must be above 0, received {margin}.")
        self.margin, self.p, self.eps, self.swap = margin, p, eps, swap

    def forward(
        self, anchor: Array, positive: Array, negative: Array
    ) -> tuple[Array, TripletCache]:  # type: ignore[override]
        shapes = tuple(anchor.shape), tuple(positive.shape), tuple(negative.shape)
        if len(set(map(len, shapes))) > 1 or not anchor.ndim:
            raise ValueError(
                "TripletMarginLoss: anchor, positive and negative must have the same number of "
                f"axes, one or more, received {shapes[0]}, {shapes[1]} and {shapes[2]}."
            )
        self.check_broadcast(anchor=anchor, positive=positive, negative=negative)
        near, far = self._distance(anchor, positive), self._distance(anchor, negative)
        across = self._distance(positive, negative) if self.swap else None
        least = far.d if across is None else np.minimum(far.d, across.d)
        short = self.margin + near.d - least
        cache = TripletCache(near, far, across, short, shapes)
        return self.of_rows(np.maximum(short, 0)), cache

    def backward(
        self, grad_output: Array, cache: TripletCache
    ) -> tuple[tuple[Array, Array, Array], Arrays]:
        r"""Chain rule through L = 1/N Σ_n max(0, s_n), s = margin + d(a, b) - d(a, c).

        Shapes: a, b, c (N, D) or more, d, s (N,), L and dL one number, or (N,) without reduction.
        d(x, y) = ‖v‖_p = (Σ_k |v_k|^p)^(1/p),  v = x - y + ε
            ∂d/∂v_k = sign(v_k) (|v_k| / d)^(p-1);   at v_k = 0 it is 0, as in torch
            p = ∞: sign(v_k), shared out evenly among the largest;   p = 0: 0
        with g_n = 1/N [s_n ≥ 0], and v of a - b, a - c:
            da = g (d′(a - b) - d′(a - c)),   db = -g d′(a - b),   dc = g d′(a - c)
        swap: the smaller of d(a, c) and d(b, c) is taken; d(b, c) passes -g d′(b - c) to b and
        g d′(b - c) to c instead, and where the two are equal each passes half
        added up over what was stretched;   sum and none: without 1/N
        At s = 0 exactly torch's clamp_min has slope 1 (its relu: 0), and so has this.
        Torch: nn.TripletMarginLoss.
        Source: Balntas et al., Learning local feature descriptors with triplets and shallow
            convolutional neural networks (2016).
        """
        near, far, across, short, (of_a, of_b, of_c) = cache
        g = self.to_rows(grad_output, short.size) * (short >= 0)  # (…, 1)
        share = 1.0 if across is None else _share(far.d, across.d)
        up, down = g * near.slope, g * share * far.slope
        da, db, dc = up - down, -up, down
        if across is not None:
            through = g * (1.0 - share) * across.slope
            db, dc = db - through, dc + through
        return (summed_to(da, of_a), summed_to(db, of_b), summed_to(dc, of_c)), {}

    def _distance(self, x: Array, y: Array) -> Distance:
        return p_norm(x - y + self.eps, self.p)

    def decisions(self, cache: TripletCache) -> Array:
        """Return 1 where the margin is not kept, and 2 more where the distance was swapped."""
        short = cache.short >= 0
        return short if cache.across is None else short + 2 * (cache.across.d < cache.far.d)

    def extra_repr(self) -> str:
        return (
            f"margin={self.margin}, p={self.p}, eps={self.eps}, swap={self.swap}, "
            f"{super().extra_repr()}"
        )


def _share(far: Array, across: Array) -> Array:
    """Return what of the smaller of two distances is the first: 1, 0, or one half if equal."""
    return 0.5 + 0.5 * np.sign(across - far)
