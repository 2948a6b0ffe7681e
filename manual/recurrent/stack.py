"""What RNN, LSTM and GRU share: layers on top of each other, directions, layouts, lengths."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from manual.layer import Array, Arrays, Layer, Noise
from manual.recurrent.packing import Packing, kept, packing, spread, turned
from manual.recurrent.refusals import check_arguments, check_inputs
from manual.recurrent.unrolled import Back, Past, States, Unit, Weights, run, run_backward

PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")


class RecurrentCache(NamedTuple):
    pasts: tuple[Past, ...]  # of each layer, forward then reverse
    keeps: tuple[Array, ...]  # the dropout masks; empty in evaluation
    batched: bool
    given: bool  # whether initial states were
    packed: Packing | None  # where the sequences lie, if lengths were given


class Recurrent(Layer):
    """A unit unrolled over sequences, in layers and directions; a class says which unit it is.

    Layers: the input of layer k is the output of layer k-1, dropped and scaled by mask / (1 - p),
    and so is its gradient. A reverse direction sees x turned around in time: its dy is turned
    before, its dx after. The two directions read the same x, so their dx add.

    Lengths: a sequence that is over keeps its states, so h_n and c_n are those of its own end, and
    their gradient passes the steps beyond unchanged until it enters there. The output is 0 beyond
    the end, whatever the input is there, so dy is not read and dx is 0. The
    reverse direction starts at each sequence's own end: only what lies before it is turned.
    """

    stochastic = True
    unit: Unit
    proj_size: int = 0

    def _build(
        self, input_size: int, hidden_size: int, num_layers: int, bias: bool, batch_first: bool,
        dropout: float, bidirectional: bool,
    ) -> None:  # fmt: skip
        """Set the constructor's arguments, and parameters of zeros."""
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout = bias, batch_first, dropout
        self.bidirectional = bidirectional
        check_arguments(self)
        self.params = {
            key: np.zeros(shape)
            for layer in self._layers()
            for suffix in layer
            for key, shape in self._shapes(suffix).items()
        }

    @property
    def output_size(self) -> int:
        """P, the size of h: hidden_size, unless it is projected."""
        return self.proj_size or self.hidden_size

    @property
    def state_sizes(self) -> tuple[int, ...]:
        """The sizes of h and, where there is one, of c: one for each output but the first."""
        return (self.output_size, self.hidden_size)[: len(self.outputs) - 1]

    @property
    def directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def scale(self) -> float:
        """1 / (1 - p): what dropout leaves is scaled up; 0 for p = 1, where nothing is left."""
        return 0.0 if self.dropout == 1 else 1 / (1 - self.dropout)

    # ── there ────────────────────────────────────────────────────────────────────────────────────
    def _walk(
        self, input: Array, given: Mapping[str, Array | None], lengths: Array | None, noise: Noise
    ) -> tuple[tuple[Array, ...], RecurrentCache]:
        """Return the output and the last states, in torch's layouts; `given` are the first ones."""
        check_inputs(self, input, given, lengths)
        batched, found = input.ndim == 3, tuple(given.values())
        x = self._time_first(input, batched)
        packed = None if lengths is None else packing(lengths, len(x))
        x = kept(x, packed)  # (T, N, I)
        keeps = self._keeps(noise, x, packed)
        first = self._states(found, x, batched)  # (D layers, N, ·) each
        pasts: list[Past] = []
        ends: list[States] = []
        for layer, suffixes in enumerate(self._layers()):
            if layer and keeps:
                x = x * keeps[layer - 1] * self.scale
            ys = []
            for suffix in suffixes:
                own = tuple(s[len(pasts)] for s in first)
                y, end, past = run(
                    self.unit, along(x, suffix, packed), own, self._weights(suffix),
                    None if packed is None else packed.active,
                )  # fmt: skip
                pasts.append(past)
                ends.append(end)
                ys.append(along(y, suffix, packed))
            y = np.concatenate(ys, axis=-1) if self.bidirectional else ys[0]
            x = kept(y, packed)  # (T, N, D P)
        last = tuple(np.stack(s) for s in zip(*ends, strict=True))
        cache = RecurrentCache(tuple(pasts), keeps, batched, found[0] is not None, packed)
        return (self._laid_out(x, batched), *_unbatched(last, batched)), cache

    # ── and back ─────────────────────────────────────────────────────────────────────────────────
    def _walked_back(
        self, grad_output: tuple[Array | None, ...], cache: RecurrentCache
    ) -> tuple[tuple[Array | None, ...], Arrays]:
        """Return the gradients of the input, the initial states and the (whole) lengths."""
        dx, dstates, grads = self._walk_back(grad_output, cache, input_grad=True)
        states = _unbatched(dstates, cache.batched) if cache.given else (None,) * len(dstates)
        return (self._laid_out(dx, cache.batched), *states, None), grads

    def grad_params(self, grad_output: tuple[Array | None, ...], cache: RecurrentCache) -> Arrays:
        """Return the parameters' gradients, without the last product, dx = dz W."""
        return self._walk_back(grad_output, cache, input_grad=False)[2]

    def _walk_back(
        self, grad_output: tuple[Array | None, ...], cache: RecurrentCache, input_grad: bool
    ) -> tuple[Array, States, Arrays]:
        """Return dx (T, N, I), the states' gradients (D layers, N, ·) and the parameters'."""
        dy, last = self._upstream(grad_output, cache)
        packed, backs = cache.packed, []  # from the last to the first
        for layer, suffixes in reversed(list(enumerate(self._layers()))):
            found: list[Array] = []
            for d, suffix in reversed(list(enumerate(suffixes))):
                at = layer * self.directions + d
                own = dy[..., d * self.output_size : (d + 1) * self.output_size]
                back = run_backward(
                    self.unit, along(own, suffix, packed), tuple(s[at] for s in last),
                    self._weights(suffix), cache.pasts[at],
                    None if packed is None else packed.active,
                    input_grad=input_grad or layer > 0,
                )  # fmt: skip
                backs.append(back)
                if back.x is not None:
                    found.append(along(back.x, suffix, packed))
            if found:
                dy = found[0] if len(found) == 1 else found[0] + found[1]
            if layer and cache.keeps:
                dy = dy * cache.keeps[layer - 1] * self.scale
        backs.reverse()
        first = tuple(np.stack(s) for s in zip(*[back.states for back in backs], strict=True))
        return dy, first, self._named(backs)

    def _upstream(
        self, grad_output: tuple[Array | None, ...], cache: RecurrentCache
    ) -> tuple[Array, States]:
        """Return the upstream gradients, time first; None, of an unused output, is zero."""
        dy, *states = grad_output
        like = cache.pasts[0].x  # (T, N, I)
        steps, n, _ = like.shape
        if dy is None:
            dy = np.zeros_like(like, shape=(steps, n, self.directions * self.output_size))
        else:
            dy = kept(self._time_first(dy, cache.batched), cache.packed)
        return dy, self._states(states, like, cache.batched)

    # ── parameters ───────────────────────────────────────────────────────────────────────────────
    def _layers(self) -> list[tuple[str, ...]]:
        """Return torch's suffixes of the parameters, by layer: `l0`, and `l0_reverse`."""
        names = [f"l{k}" for k in range(self.num_layers)]
        return [(name, f"{name}_reverse") if self.bidirectional else (name,) for name in names]

    def _shapes(self, suffix: str) -> dict[str, tuple[int, ...]]:
        below = self.directions * self.output_size
        width = self.input_size if suffix in self._layers()[0] else below
        rows = self.unit.gates * self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {
            f"weight_ih_{suffix}": (rows, width),
            f"weight_hh_{suffix}": (rows, self.output_size),
        }
        if self.bias:
            shapes |= {f"bias_ih_{suffix}": (rows,), f"bias_hh_{suffix}": (rows,)}
        if self.proj_size:
            shapes[f"weight_hr_{suffix}"] = (self.proj_size, self.hidden_size)
        return shapes

    def _weights(self, suffix: str) -> Weights:
        return Weights(*(self.params.get(f"{part}_{suffix}") for part in PARTS))

    def _named(self, backs: list[Back]) -> Arrays:
        """Return the parameters' gradients under their names, in their order."""
        grads: Arrays = {}
        suffixes = [suffix for layer in self._layers() for suffix in layer]
        for suffix, back in zip(suffixes, backs, strict=True):
            own = zip(PARTS, back.weights, strict=True)
            grads |= {f"{part}_{suffix}": g for part, g in own if g is not None}
        return grads

    # ── layouts ──────────────────────────────────────────────────────────────────────────────────
    def _time_first(self, a: Array, batched: bool) -> Array:
        """Return a sequence as (T, N, ·)."""
        if not batched:
            return a[:, None]
        return a.swapaxes(0, 1) if self.batch_first else a

    def _laid_out(self, a: Array, batched: bool) -> Array:
        """Return (T, N, ·) in the layout of the input."""
        if not batched:
            return a[:, 0]
        return a.swapaxes(0, 1) if self.batch_first else a

    def _states(self, given: Any, like: Array, batched: bool) -> States:
        """Return states, or their gradients, as (D layers, N, ·) each; zero if not given."""
        count, n = self.directions * self.num_layers, like.shape[1]
        zeros = [np.zeros_like(like, shape=(count, n, size)) for size in self.state_sizes]
        return tuple(
            zero if s is None else s if batched else s[:, None]
            for s, zero in zip(given, zeros, strict=True)
        )

    # ── noise ────────────────────────────────────────────────────────────────────────────────────
    def draw(  # type: ignore[override]
        self, input: Array, *more: Array | None, rng: np.random.Generator
    ) -> tuple[Array, ...]:
        """Return a mask for each layer except the last; none if nothing is dropped."""
        return tuple(rng.random(s) >= self.dropout for s in self.mask_shapes(input, *more))

    def mask_shapes(self, input: Array, *more: Array | None) -> list[tuple[int, ...]]:
        """Return the masks' shapes: (T, N, D·P), or (Σ lengths, D·P), packed step by step."""
        x = self._time_first(input, input.ndim == 3)
        lengths = more[-1] if len(more) > len(self.state_sizes) else None
        return self._masked(x.shape[:2] if lengths is None else (int(lengths.sum()),))

    def _masked(self, places: tuple[int, ...]) -> list[tuple[int, ...]]:
        count = self.num_layers - 1 if self.dropout else 0
        return [(*places, self.directions * self.output_size)] * count

    def _keeps(self, noise: Noise, x: Array, packed: Packing | None) -> tuple[Array, ...]:
        """Return the masks (T, N, D·P) as booleans, which lift no float32."""
        if noise is None:
            return ()
        masks = (noise,) if hasattr(noise, "shape") else tuple(noise)
        self._check_masks([tuple(m.shape) for m in masks], x, packed)
        return tuple(m != 0 if packed is None else spread(m != 0, packed) for m in masks)

    def _check_masks(
        self, received: list[tuple[int, ...]], x: Array, packed: Packing | None
    ) -> None:
        lengths = [] if packed is None else packed.active.sum(axis=0).tolist()
        fits = [self._masked(x.shape[:2] if packed is None else (sum(lengths),))]
        if len(set(lengths)) == 1:  # all equally long
            fits.append(self._masked((lengths[0], len(lengths))))
        if received not in fits:
            who, shapes = type(self).__name__, fits[0]
            raise ValueError(
                f"{who}: noise must be {len(shapes)} masks of the shapes {shapes} (time first, one "
                f"for each layer except the last), received {received}. Draw them with {who}.draw, "
                "from the same inputs."
            )

    # ── what is told about it ────────────────────────────────────────────────────────────────────
    def variants(self, cache: RecurrentCache) -> tuple[str, ...]:
        """Return which equations hold for a pass: those for one layer, or none."""
        plain = self.num_layers == self.directions == 1 and self.bias and not self.proj_size
        if not (plain and cache.batched and cache.packed is None):
            return ()
        return ("one layer", "initial states") if cache.given else ("one layer",)

    def extra_repr(self) -> str:
        options = inspect.signature(type(self)).parameters.values()
        usual = {p.name: p.default for p in options if p.default is not p.empty}
        rest = [f"{k}={getattr(self, k)!r}" for k, v in usual.items() if getattr(self, k) != v]
        return ", ".join([f"{self.input_size}, {self.hidden_size}", *rest])


def along(a: Array, suffix: str, packed: Packing | None) -> Array:
    """Return (T, N, ·) in the order in which a direction walks, or back from that order."""
    return turned(a, packed) if suffix.endswith("_reverse") else a


def _unbatched(states: States, batched: bool) -> States:
    """Return states (D layers, N, ·) without the batch axis if the input had none."""
    return states if batched else tuple(s[:, 0] for s in states)
