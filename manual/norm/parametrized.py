"""Layers whose weight is made of other parameters: WeightNorm and SpectralNorm."""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from manual.examples import Example
from manual.layer import Array, Arrays, Layer

__all__ = ["SpectralNorm", "WeightNorm"]

LINEAR = {"type": "Linear", "in_features": 3, "out_features": 2}
BILINEAR = {"type": "Bilinear", "in1_features": 2, "in2_features": 3, "out_features": 2}


class ParametrizedCache(NamedTuple):
    inner: Any  # what the layer left
    weight: Array  # that it was given
    made: Any  # what the weight's own way back needs


class Parametrized(Layer):
    """A layer that is given a weight made of the parameters `parametrizations.NAME.…`."""

    def __init__(self, module: Any, name: str) -> None:
        layer = _built(module)
        if not hasattr(layer, "grad_params") or layer.stochastic:
            raise TypeError(
                f"{type(self).__name__}: module must be a hand-written layer that draws nothing, "
                f"or a table such as {LINEAR}, received {module!r}."
            )
        if name not in layer.params:
            has = ", ".join(layer.params) or "none"
            raise ValueError(
                f"{type(self).__name__}: {layer!r} has no parameter '{name}'. It has: {has}."
            )
        self.module, self.name = layer, name
        self.outputs, self.structure = layer.outputs, layer.structure
        self.params = {k: p for k, p in layer.params.items() if k != name}
        self.buffers = dict(layer.buffers)

    def forward(self, *inputs: Array, **named: Any) -> tuple[Any, ParametrizedCache]:
        """Return what the layer makes of its inputs with the weight made here."""
        with np.errstate(divide="ignore", invalid="ignore"):  # of a weight of 0: nan, as in torch
            weight, made = self._made()
        y, inner = self._inner(weight).forward(*inputs, **named)
        return y, ParametrizedCache(inner, weight, made)

    def _returned(
        self, grad_output: Any, cache: ParametrizedCache
    ) -> tuple[tuple[Array, ...], Arrays]:
        """Return the layer's gradients, those of the weight's parameters in its place."""
        grads, own = self._inner(cache.weight).backward(grad_output, cache.inner)
        dw = own.pop(self.name)
        given = self._of_parameters(dw, cache)
        return grads, own | {self._key(k): grad for k, grad in given.items()}

    @abstractmethod
    def _made(self) -> tuple[Array, Any]:
        """Return the weight, and what its way back needs."""

    @abstractmethod
    def _of_parameters(self, dw: Array, cache: ParametrizedCache) -> Arrays:
        """Return the gradients of `original…` from that of the weight."""

    def _inner(self, weight: Array) -> Layer:
        own = {k: self.params[k] for k in self.module.params if k != self.name}
        layer = self.module.with_params({**own, self.name: weight})
        return layer.with_buffers({k: self.buffers[k] for k in layer.buffers})

    def next_buffers(self, cache: ParametrizedCache) -> Arrays:
        inner = self._inner(cache.weight).next_buffers(cache.inner)
        return {k: inner.get(k, b) for k, b in self.buffers.items()}

    def train(self, mode: bool = True) -> Self:
        """Return a copy of this layer, and of the one within, in training or in evaluation."""
        return self._twin(training=mode, module=self.module.train(mode))

    def decisions(self, cache: ParametrizedCache) -> Array | None:
        return self._inner(cache.weight).decisions(cache.inner)

    def _key(self, part: str) -> str:
        return f"parametrizations.{self.name}.{part}"


class WeightNorm(Parametrized):
    """A layer whose weight is g v / ‖v‖: its length and its direction are parameters of their own.

    Args:
        module: the layer, or a table of its type and arguments.
        name: of the parameter that is made (a configuration's `name` is the node's: there it is
            `weight`).
        dim: the axis of the weight along which every slice has a length of its own; None, or -1 as
            in torch: the weight has one.

    Parameters, under torch's names: the layer's others, `parametrizations.NAME.original0` g (of
    length 1 but along `dim`; () if there is one) and `original1` v. Zero until they are set.

    Raises:
        TypeError: no hand-written layer, or one that draws.
        ValueError: it has no such parameter, or that has no such axis.
    """

    examples: ClassVar = (
        Example({"module": LINEAR}, ((4, 3),)),
        Example({"module": BILINEAR, "dim": 1}, ((2, 2), (2, 3))),
        Example({"module": LINEAR, "dim": None}, ((2, 3),), training=False),
        Example({"module": LINEAR, "name": "bias"}, ((3,),)),
    )

    def __init__(self, module: Any, name: str = "weight", dim: int | None = 0) -> None:
        super().__init__(module, name)
        weight = self.module.params[name]
        self.dim = -1 if dim is None else dim
        if not -1 <= self.dim < weight.ndim:
            raise ValueError(
                f"WeightNorm: dim must be an axis of '{name}', from 0 to {weight.ndim - 1}, or "
                f"None, received {dim}."
            )
        self.params |= {
            self._key("original0"): _norm(weight, self.dim), self._key("original1"): weight,
        }  # fmt: skip

    def backward(
        self, grad_output: Any, cache: ParametrizedCache
    ) -> tuple[tuple[Array, ...], Arrays]:
        r"""Chain rule through the layer, and then through w = g v / ‖v‖.

        Shapes: w, v, dw (O, …), g, ‖v‖ (O, 1, …): one for each slice o along `dim`, i counts the
        slice's elements. dw is what the layer's own backward returns for its weight.
        Index form:  w_oi = g_o u_oi,   u_oi = v_oi / ‖v_o‖,   ∂‖v_o‖/∂v_oj = u_oj
            dg_o = Σ_i dw_oi u_oi
            ∂u_oi/∂v_oj = ([i = j] - u_oi u_oj) / ‖v_o‖
            dv_oj = g_o/‖v_o‖ (dw_oj - u_oj Σ_i dw_oi u_oi) = g_o/‖v_o‖ (dw_oj - dg_o u_oj)
        Of dw, g gets the part along v, and v what is across: dv · v = 0, so a step along dv makes
        v longer, never shorter.
        Torch: nn.utils.parametrizations.weight_norm.
        Source: Salimans and Kingma, Weight Normalization (2016), section 2.1.
        """
        return self._returned(grad_output, cache)

    def _made(self) -> tuple[Array, Any]:
        g, v = (self.params[self._key(f"original{i}")] for i in (0, 1))
        norm = _norm(v, self.dim)
        return v * (g / norm), (v / norm, g / norm)

    def _of_parameters(self, dw: Array, cache: ParametrizedCache) -> Arrays:
        unit, scale = cache.made
        dg = _summed(dw * unit, self.dim)
        return {"original0": dg, "original1": scale * (dw - dg * unit)}

    def extra_repr(self) -> str:
        return f"{self.module!r}, name={self.name!r}, dim={self.dim}"


class Spectral(NamedTuple):
    u: Array
    v: Array
    sigma: Array  # uᵀ W v


class SpectralNorm(Parametrized):
    """A layer whose weight is W / σ, σ its largest singular value, followed by power iteration.

    In training each forward pass takes `n_power_iterations` steps u ← W v / ‖·‖, v ← Wᵀ u / ‖·‖
    before σ = uᵀ W v; in evaluation u and v stay. A parameter of one axis is divided by its norm.

    Args:
        module: the layer, or a table of its type and arguments.
        name: of the parameter that is made (a configuration's `name` is the node's: there it is
            `weight`).
        n_power_iterations: at least 1.
        eps: no norm counts as less.
        dim: the axis that is W's first, the others being its second; None: 0, of transposed
            convolutions 1.

    Parameters and buffers, under torch's names: the layer's others,
    `parametrizations.NAME.original` W, and `parametrizations.NAME.0._u`, `_v`, unit vectors (torch
    draws them and takes 15 steps).

    Raises:
        TypeError: no hand-written layer, or one that draws.
        ValueError: it has no such parameter; n_power_iterations below 1.
        IndexError: the parameter has no such axis.
    """

    examples: ClassVar = (
        Example(
            {"module": LINEAR, "n_power_iterations": 2}, ((4, 3),), convention=True,
            note="u and v, which follow W, count as constants",
        ),
        Example({"module": LINEAR}, ((2, 3),), training=False),
        Example({"module": LINEAR, "name": "bias"}, ((3,),)),
        Example({"module": BILINEAR, "dim": 1, "eps": 4.0}, ((2, 2), (2, 3)), convention=True,
                note="norms below eps; u and v, which follow W, count as constants"),
    )  # fmt: skip

    def __init__(
        self,
        module: Any,
        name: str = "weight",
        n_power_iterations: int = 1,
        eps: float = 1e-12,
        dim: int | None = None,
    ) -> None:
        super().__init__(module, name)
        weight = self.module.params[name]
        dim = int("Transpose" in type(self.module).__name__) if dim is None else dim
        if not -weight.ndim <= dim < weight.ndim:
            raise IndexError(
                f"SpectralNorm: dim must be an axis of '{name}', from {-weight.ndim} to "
                f"{weight.ndim - 1}, received {dim}."
            )
        if n_power_iterations < 1:
            raise ValueError(
                f"SpectralNorm: n_power_iterations must be at least 1, received "
                f"{n_power_iterations}."
            )
        self.n_power_iterations, self.eps, self.dim = n_power_iterations, eps, dim % weight.ndim
        self.params |= {self._key("original"): weight}
        if weight.ndim > 1:
            rows, columns = self._matrix(weight).shape
            self.buffers |= {self._key("0._u"): _unit(rows), self._key("0._v"): _unit(columns)}

    def backward(
        self, grad_output: Any, cache: ParametrizedCache
    ) -> tuple[tuple[Array, ...], Arrays]:
        r"""Chain rule through the layer, and then through Ŵ = W / σ, σ = uᵀ W v.

        Shapes: W, Ŵ, dŴ (h, w) as a matrix, u (h,), v (w,), σ one number. dŴ is what the layer's
        own backward returns for its weight.
        u and v are constants: at the singular vectors σ does not change with them in the first
        order, as they are unit vectors that maximise it; on the way there this is a convention.
            ∂σ/∂W_ij = u_i v_j
        ->  dW_ij = dŴ_ij / σ - (Σ_kl dŴ_kl W_kl) / σ² u_i v_j = (dŴ_ij - <dŴ, Ŵ> u_i v_j) / σ
        A parameter of one axis, ŵ = w / n, n = ‖w‖:   dw = (dŵ - <dŵ, ŵ> w / n) / n; for ‖w‖ below
        eps, n is constant and dw = dŵ / n.
        Torch: nn.utils.parametrizations.spectral_norm.
        Source: Miyato et al., Spectral Normalization for Generative Adversarial Networks (2018),
            section 2.1 and appendix A.
        """
        return self._returned(grad_output, cache)

    def _made(self) -> tuple[Array, Any]:
        weight = self.params[self._key("original")]
        if weight.ndim == 1:
            norm = np.sqrt((weight * weight).sum())
            held = np.maximum(norm, self.eps)
            return weight / held, Spectral(weight / held * (norm >= self.eps), 1.0, held)
        matrix = self._matrix(weight)
        u, v = (self.buffers[self._key(f"0.{k}")] for k in ("_u", "_v"))
        for _ in range(self.n_power_iterations if self.training else 0):
            u = self._normalised(matrix @ v)
            v = self._normalised(matrix.T @ u)
        sigma = (u * (matrix @ v)).sum()
        return weight / sigma, Spectral(u, v, sigma)

    def _of_parameters(self, dw: Array, cache: ParametrizedCache) -> Arrays:
        u, v, sigma = cache.made
        along = self._weight_of(np.expand_dims(u, 1) * v, dw.shape)
        return {"original": (dw - (dw * cache.weight).sum() * along) / sigma}

    def next_buffers(self, cache: ParametrizedCache) -> Arrays:
        """Return u and v as they were used, and what the layer's own buffers are next."""
        found, (u, v, _) = super().next_buffers(cache), cache.made
        if cache.weight.ndim > 1:
            found |= {self._key("0._u"): u, self._key("0._v"): v}
        return found

    def _matrix(self, weight: Array) -> Array:
        moved = np.moveaxis(weight, self.dim, 0)
        return moved.reshape(moved.shape[0], -1)

    def _weight_of(self, matrix: Array, shape: tuple[int, ...]) -> Array:
        """Return a matrix in the weight's shape: the inverse of `_matrix`."""
        rest = [n for axis, n in enumerate(shape) if axis != self.dim]
        return np.moveaxis(matrix.reshape(-1, *rest), 0, self.dim)

    def _normalised(self, x: Array) -> Array:
        norm = np.sqrt((x * x).sum())
        return x / np.maximum(norm, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.module!r}, name={self.name!r}, n_power_iterations={self.n_power_iterations}, "
            f"eps={self.eps}, dim={self.dim}"
        )


def _built(module: Any) -> Any:
    """Return the layer that a table describes; anything else as it is."""
    if not isinstance(module, Mapping):
        return module
    options = {k: v for k, v in module.items() if k != "type"}
    cls = getattr(sys.modules["manual"], str(module.get("type")), None)  # what imports this
    return cls(**options) if isinstance(cls, type) else module


def _norm(v: Array, dim: int) -> Array:
    return np.sqrt(_summed(v * v, dim))


def _summed(x: Array, dim: int) -> Array:
    """Return the sums of the slices along an axis, which are kept; of all for -1."""
    if dim == -1:
        return x.sum()
    axes = tuple(axis for axis in range(x.ndim) if axis != dim)
    return x.sum(axis=axes, keepdims=True)


def _unit(size: int) -> np.ndarray:
    """Return a unit vector, the same in every dtype."""
    rising = np.arange(1.0, size + 1)
    return (rising / np.sqrt((rising**2).sum())).astype(np.float32).astype(np.float64)
