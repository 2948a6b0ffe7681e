"""A layer that is a graph of layers inside, and one node outside: what torch has as one module."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

from manual.graph import Graph, Tape
from manual.layer import Array, Arrays, Layer, Noise, Output
from manual.nodes import Node, dotted, unfolded

__all__ = ["Composed"]


class Composed(Layer):
    """A layer whose passes are those of its graph; nothing of them is written twice.

    Attributes:
        graph: the pieces, by the names that torch's module has for them; a layer that is built of
            this one takes the graph, which is then unfolded.
        drawing: the pieces that draw, in torch's order; noise is a tuple of what they drew.
    """

    stochastic = True

    def __init__(
        self, nodes: Sequence[Node], inputs: tuple[str, ...], order: Iterable[str] = ()
    ) -> None:
        """Make the graph.

        Args:
            nodes: pieces, which may be composed themselves; the last gives the output.
            inputs: the names of forward's arguments.
            order: the pieces with parameters, as torch's module has them; the nodes' without it.
        """
        inner = [n._replace(layer=getattr(n.layer, "graph", n.layer)) for n in nodes]
        own = {n.name: [dotted(n.name, key) for key in n.layer.params] for n in nodes}
        self.graph = Graph(inner, inputs, {"output": inner[-1].name})
        self.params = {k: self.graph.params[k] for name in order or own for k in own[name]}
        flat = unfolded(inner, {}, {}).nodes
        self.drawing = tuple(n.name for n in flat if n.layer.chances)
        self.chances = tuple(p for n in flat for p in n.layer.chances)

    def _run(self, *inputs: Array | None, noise: Noise = None) -> tuple[Output, Tape]:
        return self.graph.forward(*inputs, noise=self._by_name(noise))

    def _by_name(self, noise: Noise) -> Mapping[str, Noise] | None:
        """Return what each piece drew."""
        if noise is None:
            return None
        self._check_noise(noise)
        return dict(zip(self.drawing, noise, strict=True))

    def _check_noise(self, noise: Noise) -> None:
        count = len(noise) if isinstance(noise, tuple) else 1
        if not isinstance(noise, tuple) or count != len(self.drawing):
            raise ValueError(
                f"{type(self).__name__}: noise must be a tuple of {len(self.drawing)} masks, of "
                f"{', '.join(self.drawing) or 'no piece'}, received {count}. Draw it with "
                f"{type(self).__name__}.draw(*inputs, rng=rng)."
            )

    def _pulled(self, grad_output: Output, tape: Tape) -> tuple[tuple[Array | None, ...], Arrays]:
        """Return what the graph's backward pass finds."""
        inputs, found = self.graph.backward(grad_output, tape)
        return inputs, {key: found[key] for key in self.params}

    def grad_params(self, grad_output: Output, cache: Tape) -> Arrays:
        """Return the parameter gradients alone: the first pieces then pull nothing to the input."""
        found = self.graph.grad_params(grad_output, cache)
        return {key: found[key] for key in self.params}

    def draw(self, *inputs: Array | None, rng: Any) -> tuple[Noise, ...]:
        """Return the pieces' draws, in torch's order."""
        found = self.graph.train().draw(*inputs, rng=rng)
        return tuple(found[name] for name in self.drawing)

    def decisions(self, cache: Tape) -> Array | None:
        """Return the pieces' decisions in a row."""
        return self.graph.decisions(cache)

    def with_params(self, params: Arrays) -> Self:
        """Return a copy that holds `params`, which must have the same keys."""
        twin = super().with_params(params)
        twin.graph = self.graph.with_params(params)
        return twin

    def train(self, mode: bool = True) -> Self:
        """Return a copy with every piece in training, or in evaluation."""
        return self._twin(graph=self.graph.train(mode), training=mode)
