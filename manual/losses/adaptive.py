"""AdaptiveLogSoftmaxWithLoss: a softmax over many classes in two steps, rare ones in clusters."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import NamedTuple

import numpy as np

from manual.examples import Example
from manual.layer import Array, Arrays, Layer

__all__ = ["AdaptiveLogSoftmaxWithLoss"]


class Picked(NamedTuple):
    """Rows of log-softmax, and one number of each row that is looked at."""

    p: Array  # softmax, (R, K)
    at: Array  # (R,)


class Cluster(NamedTuple):
    rows: Array  # the samples whose class it holds, (R,)
    x: Array  # (R, I)
    h: Array  # x projected, (R, H)
    picked: Picked


class AdaptiveCache(NamedTuple):
    x: Array  # (N, I)
    batched: bool
    head: Picked
    tail: tuple[Cluster, ...]


class AdaptiveLogSoftmaxWithLoss(Layer):
    """Log-probability of each sample's class, frequent classes first, and its negative mean.

    The head scores the classes below the first cutoff and one entry for each cluster of rarer ones;
    a cluster scores its classes from fewer features: log p = head's (+ the cluster's own).

    Args:
        in_features: I.
        n_classes: C, numbered from the most frequent on.
        cutoffs: where the clusters begin, in increasing order, from 1 to C - 1.
        div_value: cluster i (from 0) is given ⌊I / div_value^(i + 1)⌋ features.
        head_bias: whether the head adds a bias.

    Parameters, in torch's layout: `head.weight` (cutoffs[0] + clusters, I), `head.bias`, and of
    each cluster `tail.0.0.weight` (H, I) and `tail.0.1.weight` (its classes, H). Zero until set.

    Raises:
        ValueError: cutoffs out of order; an input that is not (N, I) with targets (N,), nor (I,)
            with one; a target that is no class.
        TypeError: targets that are not integers.
    """

    outputs = ("output", "loss")
    equations = {
        "output/one cluster": "y[n] = z[n,m[n]] - log(sum(k, exp(z[n,k]))) + cases(t[n] >= K, "
        "s[n,t[n] - K] - log(sum(l, exp(s[n,l]))), 0)",
        "output:loss/one cluster": "L = -sum(n, z[n,m[n]] - log(sum(k, exp(z[n,k]))) + cases("
        "t[n] >= K, s[n,t[n] - K] - log(sum(l, exp(s[n,l]))), 0)) / N",
        "grad_input/one cluster": "dx[n,i] = sum(k, dz[n,k] * W[k,i]) + sum(j, dh[n,j] * A[j,i])",
        "grad:head.weight/one cluster": "dW[k,i] = sum(n, dz[n,k] * x[n,i])",
        "grad:head.bias/one cluster": "db[k] = sum(n, dz[n,k])",
        "grad:tail.0.0.weight/one cluster": "dA[j,i] = sum(n, dh[n,j] * x[n,i])",
        "grad:tail.0.1.weight/one cluster": ("dB[l,j] = sum(n, ds[n,l] * sum(i, A[j,i] * x[n,i]))"),
    }
    equations = {
        role: text
        + "\nwhere dh[n,j] = sum(l, ds[n,l] * B[l,j])"
        + "\nwhere ds[n,l] = (t[n] >= K) * e[n] * ((l == t[n] - K) - exp(s[n,l])"
        + " / sum(o, exp(s[n,o])))"
        + "\nwhere dz[n,k] = e[n] * ((k == m[n]) - exp(z[n,k]) / sum(o, exp(z[n,o])))"
        + "\nwhere e[n] = dy[n] - dL / N"
        + "\nwhere s[n,l] = sum(j, B[l,j] * sum(i, A[j,i] * x[n,i]))"
        + "\nwhere z[n,k] = sum(i, W[k,i] * x[n,i]) + b[k]"
        for role, text in equations.items()
    }
    symbols = {
        "x": "input", "t": "target", "W": "head.weight", "b": "head.bias",
        "A": "tail.0.0.weight", "B": "tail.0.1.weight", "K": "cutoffs.0", "N": "cache.x.shape.0",
        "dL": "grad_output.1", "m": "cache.head.at",
    }  # fmt: skip
    examples = (
        Example(
            {"in_features": 3, "n_classes": 5, "cutoffs": (3,), "div_value": 1.5,
             "head_bias": True},
            ((4, 3), np.array([1, 4, 0, 3])),
        ),
        Example(
            {"in_features": 4, "n_classes": 7, "cutoffs": (1, 3, 4), "div_value": 1.5},
            ((5, 4), np.array([0, 2, 6, 5, 3])),
            note="the second cluster has one class",
        ),
        Example({"in_features": 4, "n_classes": 3, "cutoffs": (1,)}, ((4,), np.array(2))),
    )  # fmt: skip

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
    ) -> None:
        given = list(cutoffs)
        fits = [c for c in given if isinstance(c, Integral) and 0 < c < n_classes]
        if not given or given != sorted(set(fits)):
            raise ValueError(
                "AdaptiveLogSoftmaxWithLoss: cutoffs must be one or more whole numbers from 1 to "
                f"n_classes - 1 = {n_classes - 1}, in increasing order, received {given}."
            )
        if not div_value > 0:
            raise ValueError(
                "AdaptiveLogSoftmaxWithLoss: div_value divides the features of each cluster and "
                f"must be above 0, received {div_value}."
            )
        self.in_features, self.n_classes = in_features, n_classes
        self.cutoffs, self.div_value = [*given, n_classes], div_value
        self.params = {"head.weight": np.zeros((given[0] + len(given), in_features))}
        if head_bias:
            self.params["head.bias"] = np.zeros(given[0] + len(given))
        for i in range(len(given)):
            features = int(in_features // div_value ** (i + 1))
            size = self.cutoffs[i + 1] - self.cutoffs[i]
            self.params[f"tail.{i}.0.weight"] = np.zeros((features, in_features))
            self.params[f"tail.{i}.1.weight"] = np.zeros((size, features))

    def forward(self, input: Array, target: Array) -> tuple[tuple[Array, Array], AdaptiveCache]:  # type: ignore[override]
        """Return the log-probabilities of the targets, (N,) or (), and minus their mean."""
        self._check(input, target)
        batched = target.ndim == 1
        x, t = (input, target) if batched else (input[None], target[None])
        cluster = np.searchsorted(self.cutoffs, t, side="right")  # 0: the head alone
        place = np.where(cluster == 0, t, self.cutoffs[0] + cluster - 1)
        z = x @ self.params["head.weight"].T  # (N, K)
        if "head.bias" in self.params:
            z = z + self.params["head.bias"]
        y, head = _log_softmax_at(z, place)
        tail = []
        for i, low in enumerate(self.cutoffs[:-1]):
            rows = cluster == i + 1
            h = x[rows] @ self.params[f"tail.{i}.0.weight"].T  # (R, H)
            own, picked = _log_softmax_at(h @ self.params[f"tail.{i}.1.weight"].T, t[rows] - low)
            y[rows] += own
            tail.append(Cluster(rows, x[rows], h, picked))
        cache = AdaptiveCache(x, batched, head, tuple(tail))
        return (y if batched else y[0], -y.sum() / len(y)), cache

    def backward(
        self, grad_output: tuple[Array | None, Array | None], cache: AdaptiveCache
    ) -> tuple[tuple[Array, None], Arrays]:
        r"""Chain rule through y_n = log softmax(z_n)_m_n (+ log softmax(s_n)_r_n), L = -1/N Σ y_n.

        Shapes: x (N, I), W (K, I), b (K,), z (N, K), y (N,), L one number; of cluster i, for the R
        samples in it, A (H, I), B (its classes, H), h (R, H), s (R, its classes).
        z = x Wᵀ + b,   h = x Aᵀ,   s = h Bᵀ;   m_n is the class, or its cluster's entry of the
        head, and r_n the class's number in its cluster.
        e_n = dy_n - dL/N: y_n is returned and is also in L
        log softmax(z)_m = z_m - log Σ_k e^(z_k)   ->   dz_nk = e_n ([k = m_n] - softmax(z_n)_k)
        and of the samples of the cluster:              ds_nl = e_n ([l = r_n] - softmax(s_n)_l)
        ->  dW = dzᵀ x,  db = Σ_n dz_n,  dB = dsᵀ h,  dh = ds B,  dA = dhᵀ x
            dx = dz W, and dh A added where a sample is in a cluster
        A cluster that no sample is of has gradients 0.
        Torch: nn.AdaptiveLogSoftmaxWithLoss.
        Source: Grave et al., Efficient softmax approximation for GPUs (2017), section 4.
        """
        dy, dloss = grad_output
        x, params = cache.x, self.params
        e = np.zeros_like(x, shape=len(x)) if dy is None else np.reshape(dy, len(x))  # (N,)
        if dloss is not None:
            e = e - dloss / len(x)
        dz = _slope(cache.head, e)
        grads = {"head.weight": dz.T @ x}
        if "head.bias" in params:
            grads["head.bias"] = dz.sum(axis=0)
        dx = dz @ params["head.weight"]
        for i, (rows, own, h, picked) in enumerate(cache.tail):
            ds = _slope(picked, e[rows])
            dh = ds @ params[f"tail.{i}.1.weight"]
            grads[f"tail.{i}.0.weight"] = dh.T @ own
            grads[f"tail.{i}.1.weight"] = ds.T @ h
            dx[rows] += dh @ params[f"tail.{i}.0.weight"]
        return (dx if cache.batched else dx[0], None), grads

    def variants(self, cache: AdaptiveCache) -> tuple[str, ...]:
        """Return which equations hold for a pass: those for one cluster, or none."""
        plain = len(cache.tail) == 1 and cache.batched and "head.bias" in self.params
        return ("one cluster",) if plain else ()

    def _check(self, input: Array, target: Array) -> None:
        name = type(self).__name__
        if target.dtype.kind not in "iu":
            raise TypeError(
                f"{name}: the target must hold class indices of an integer dtype, received "
                f"{target.dtype}. Pass target.astype('int64')."
            )
        wanted = (*target.shape, self.in_features)
        if target.ndim > 1 or tuple(input.shape) != wanted or not target.size:
            raise ValueError(
                f"{name}: the input must be (N, {self.in_features}) with targets (N,), N at least "
                f"1, or ({self.in_features},) with one target, received input "
                f"{tuple(input.shape)} and target {tuple(target.shape)}."
            )
        if target.min() < 0 or target.max() >= self.n_classes:
            raise ValueError(
                f"{name}: targets must be classes from 0 to {self.n_classes - 1}, received "
                f"{target.min()} to {target.max()}. Set n_classes to their number."
            )

    def extra_repr(self) -> str:
        return (
            f"{self.in_features}, {self.n_classes}, cutoffs={self.cutoffs[:-1]}, "
            f"div_value={self.div_value}, head_bias={'head.bias' in self.params}"
        )


def _log_softmax_at(z: Array, at: Array) -> tuple[Array, Picked]:
    """Return log softmax(z) of one column of each row (R,), and what its gradient needs."""
    z = z - z.max(axis=1, keepdims=True)
    e = np.exp(z)
    total = e.sum(axis=1, keepdims=True)
    picked = z[np.arange(len(z)), at] - np.log(total).reshape(-1)
    return picked, Picked(e / total, at)


def _slope(picked: Picked, e: Array) -> Array:
    """Return e_n ([k = at_n] - p_nk)."""
    grad = -picked.p
    grad[np.arange(len(grad)), picked.at] += 1
    return grad * e[:, None]
