"""The contract of a layer: a pure pair of functions, and all that is known about it, in one class.

`forward` stores nothing on the layer, `backward` updates nothing, and neither changes its
arguments: so a layer can run twice, be unrolled over time, and run in any number system whose
arrays answer NumPy's ufuncs and functions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self, cast

import numpy as np

from manual.arguments import Checked
from manual.examples import Example

Array = Any  # a NumPy array, or anything that answers NumPy's functions as one does
Arrays = dict[str, Array]
Output = Any  # an array, or a tuple of arrays: one per name in the layer's `outputs`
Noise = Any  # what one call draws: an array, or a tuple of them


class Layer(Checked, ABC):
    """One differentiable function: its value, and the gradient of a scalar loss through it.

    Attributes:
        outputs: ports; with two or more names, `forward` returns a tuple of as many arrays.
        structure: how torch nests several outputs, `("output", ("h_n", "c_n"))`; None: it does not.
        params: the layer's own parameters under torch.nn's names and layouts.
        buffers: state that is not trained, under torch.nn's names.
        training: whether the layer acts as in training (batch norm, dropout).
        stochastic: whether forward takes `noise`, which `draw` makes.
        pictured: whether a row of its output, call after call, is worth a picture (weightings).
        chances: the probabilities with which one pass drops, one for each mask that torch draws.
        stacks: parameters that hold several maps, counted by their first axis: what is said of a
            weight's inputs and outputs (initial values) is said of one map.
        rewrites: parameters that torch changes in the forward pass, in place: an Embedding's long
            rows. Here forward computes with the new ones, and `rewritten` returns them.
        equations: what the layer computes, in the index language of `compare.explain`: by role
            (`output`, `grad_input`, `grad:weight`, with a variant as `output/no bias`). A text of
            lines: the equation `y[n,o] = sum(i, x[n,i] * W[o,i])`, then any of `where NAME = …` and
            `matrix: y = x Wᵀ`.
        symbols: the names in the equations that are parameters or attributes: `{"W": "weight"}`.
        examples: all that a test, certificate, mutation, false-alarm draw or document needs to know
            to try this layer.

    A variant of an equation is named by what must hold, joined by commas: an attribute that is set
    (`pos_weight`), one that has a value (`p = 1`, or `sum` of an argument that is text), `no bias`
    where a parameter is lacking, `evaluation` where nothing was drawn or training is off, and what
    `variants` says. That with the most parts that hold is taken, the later of equals.

    A symbol is bound to a parameter, a buffer, an argument of forward, an attribute, or to a field
    of the cache (`cache.winner`), to `decisions`, or to `grad_output`; dots go on from there
    (`input.size`, `betas.0`, `grad_output.1`, that of the second port). Unless a symbol says
    otherwise, `x` is the input (of several, the last index says which), `dy` the gradient of the
    (first) output, and a name of an attribute stands for that. An index that is a symbol runs along
    the axis that it names. A gradient in which `dy` does not occur is that for dy = 1.
    """

    outputs: tuple[str, ...] = ("output",)
    structure: Any = None
    params: Arrays = cast(Arrays, {})
    buffers: Arrays = cast(Arrays, {})
    training: bool = True
    stochastic: bool = False
    pictured: ClassVar[bool] = False
    chances: tuple[float, ...] = ()
    stacks: ClassVar[tuple[str, ...]] = ()
    rewrites: tuple[str, ...] = ()
    equations: ClassVar[Mapping[str, str]] = {}
    symbols: ClassVar[Mapping[str, str]] = {}
    examples: ClassVar[tuple[Example, ...]] = ()

    @abstractmethod
    def forward(self, *inputs: Any, **noise: Any) -> tuple[Output, Any]:
        """Return `(output, cache)`; the cache is a NamedTuple of just what `backward` needs.

        Optional inputs default to None. A random layer also takes the keyword `noise`, and no other
        does; without noise it acts as in evaluation.
        """

    @abstractmethod
    def backward(self, grad_output: Output, cache: Any) -> tuple[tuple[Array, ...], Arrays]:
        """Return `(grad_inputs, grad_params)`: one per argument of forward, one per parameter.

        `grad_output` is built as forward's output is. None is the gradient of what has none:
        integers, masks, inputs left out. What backward needs is in the cache; a module that is
        called twice may hold other buffers by then.
        """

    def grad_params(self, grad_output: Output, cache: Any) -> Arrays:
        """Return the parameter gradients alone: all that a network's first layer needs."""
        return self.backward(grad_output, cache)[1]

    def next_buffers(self, cache: Any) -> Arrays:
        """Return the buffers after the forward pass that left this cache; pure, as backward is."""
        return self.buffers

    def rewritten(self, cache: Any) -> Arrays:
        """Return the parameters of `rewrites` as torch holds them after this forward pass."""
        return {}

    def draw(self, *inputs: Array, rng: np.random.Generator) -> Noise:
        """Return the noise of one forward pass on these inputs."""
        raise NotImplementedError(f"{self!r} draws nothing.")

    def decisions(self, cache: Any) -> Array | None:
        """Return which piece of a piecewise function each element took; None if it has one piece.

        `cache` is what the forward pass left. Two correct programs may take different pieces only
        where rounding can cross the border. A layer whose pieces are decided by its own rounding
        (Maxout) also has `settled(decisions)`: itself, with these decisions taken.
        """
        return None

    def variants(self, cache: Any) -> tuple[str, ...]:
        """Return the variants of the equations that hold for this pass, where only it can tell."""
        return ()

    def with_params(self, params: Arrays) -> Self:
        """Return a copy of this layer that holds `params`, which must have the same keys."""
        if params.keys() != self.params.keys():
            raise KeyError(
                f"{type(self).__name__}: expected parameters {sorted(self.params)}, "
                f"received {sorted(params)}"
            )
        return self._twin(params=params)

    def with_buffers(self, buffers: Arrays) -> Self:
        """Return a copy of this layer that holds `buffers`, which must have the same keys."""
        if buffers.keys() != self.buffers.keys():
            raise KeyError(
                f"{type(self).__name__}: expected buffers {sorted(self.buffers)}, "
                f"received {sorted(buffers)}"
            )
        return self._twin(buffers=buffers)

    def train(self, mode: bool = True) -> Self:
        """Return a copy of this layer in training, or in evaluation."""
        return self._twin(training=mode)

    def _twin(self, **changed: Any) -> Self:
        twin = object.__new__(type(self))  # copy.copy takes four times as long
        twin.__dict__ = {**self.__dict__, **changed}
        return twin

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"

    def extra_repr(self) -> str:
        """Return the constructor arguments to show, as torch.nn's method of this name does."""
        return ""
