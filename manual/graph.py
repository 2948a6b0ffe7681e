"""The graph: named nodes, forward in topological order onto a tape, backward in reverse.

A graph is a layer made of layers. Layers are pure (`manual.layer`): so one can run twice, be
unrolled over time, and run in any number system whose arrays answer NumPy's ufuncs and functions.
How values are named: `manual.nodes`. Parameters are values too (`0.weight`): a node may read them,
as penalties do. Gradients add wherever a value is used more than once, which is all there is to
branches, unrolled cells, tied weights and penalties.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple, Self

import numpy as np

from manual.layer import Array, Arrays, Layer, Noise, Output
from manual.nodes import Node, dotted, ordered, ports_of, unfolded

Intercept = Callable[["Node", tuple[Array, ...]], tuple[Array, ...]]


class Tape(NamedTuple):
    """What one forward pass leaves."""

    values: Arrays  # of every input, port, and parameter that a node reads
    caches: dict[str, Any]  # by node: what its backward needs
    output: Output
    buffers: Arrays  # after the pass
    noise: dict[str, Noise]  # by random node: what was drawn or given


class Gradients(NamedTuple):
    """What one backward pass leaves: d loss / d value of every name, d loss / d every parameter.

    A name is absent where no gradient arrives: nothing leads from it to the output, or a layer on
    every way there returned None.
    """

    values: Arrays
    params: Arrays


class Special(NamedTuple):
    """What a node has beyond one output and parameters."""

    ports: tuple[str, ...]  # the names of its values; () if it has one
    stochastic: bool
    buffers: dict[str, str]  # its key: the graph's name


class Step(NamedTuple):
    """One node of a backward plan."""

    node: int  # which of the graph's nodes
    ports: tuple[str, ...]  # () if it has one
    wanted: tuple[tuple[int, str], ...]  # (which argument, the value it came from)
    params: dict[str, str]  # its key: the graph's name


class Graph(Layer):
    """A layer made of named layers.

    Args:
        nodes: `Node`s (or plain tuples) in any order; names are torch's dotted paths. A layer that
            is a graph is unfolded.
        inputs: names of the inputs, which nodes refer to; one that is not given is None.
        outputs: the graph's ports and the values they are; without it, the one node that feeds no
            other.
        tied: parameters that are another one: `{"lm_head.weight": "wte.weight"}`.
        parameters: those that no node has, by dotted name: values for nodes to read.

    Attributes:
        results: the names of the values that leave the graph, one per output.
        alias: the outputs of unfolded graphs, and what those values are called now.

    Raises:
        ValueError: a name is used twice, an input is unknown, nodes form a cycle, a node leads
            nowhere (its output would never be compared), or what is shared differs in shape.
    """

    def __init__(
        self,
        nodes: Iterable[Node | tuple],
        inputs: tuple[str, ...] = ("input",),
        outputs: Mapping[str, str] | None = None,
        tied: Mapping[str, str] | None = None,
        parameters: Mapping[str, Array] | None = None,
    ) -> None:
        self.inputs = tuple(inputs)
        flat, self.tied, self.alias, self.groups, self.free = unfolded(
            [Node(*n) for n in nodes], tied or {}, parameters or {}
        )
        own = dict.fromkeys(dotted(n.name, key) for n in flat for key in n.layer.params)
        own |= dict.fromkeys(self.free)
        for name in [*self.tied, *self.tied.values()]:
            if name not in own:
                raise ValueError(f"tied: '{name}' is no parameter. Parameters: {', '.join(own)}.")
        leaves = [name for name in own if name not in self.tied]
        ends = tuple(str(self.alias.get(v, v)) for v in (outputs or {}).values())
        self.nodes = ordered(flat, (*self.inputs, *leaves), ends, self.groups)
        self.results = ends or (self.nodes[-1].name,)
        self.outputs = tuple(outputs or ("output",))
        self._derive()

    @property
    def output(self) -> str:
        """The name of the value that is the first output."""
        return self.results[0]

    @property
    def stacks(self) -> tuple[str, ...]:  # type: ignore[override]
        """The parameters that hold several maps, by dotted name (`Layer.stacks`)."""
        return tuple(dotted(n.name, key) for n in self.nodes for key in n.layer.stacks)

    # ── the two passes, with everything that they find ───────────────────────────────────────────
    def run(
        self,
        inputs: Array | Mapping[str, Array],
        *,
        noise: Mapping[str, Noise] | np.random.Generator | None = None,
        intercept: Intercept | None = None,
    ) -> Tape:
        """Visit the nodes in topological order.

        Args:
            inputs: the network's input, or one array per input name.
            noise: for random nodes what they drew, by name, or a generator to draw from; without
                it they act as in evaluation.
            intercept: called as `intercept(node, inputs)` before each node; returns its inputs.
        """
        values = self._given(inputs)
        caches: dict[str, Any] = {}
        buffers, drawn = dict(self.buffers), {}
        for node, special in zip(self.nodes, self._special, strict=True):
            name, layer, sources = node
            arguments: Any = [values[source] for source in sources]
            try:
                if intercept is not None:
                    arguments = intercept(node, tuple(arguments))
                if special is None:
                    values[name], caches[name] = layer.forward(*arguments)
                    continue
                if special.buffers:  # a module called twice goes on from where its first call ended
                    layer = layer.with_buffers({k: buffers[b] for k, b in special.buffers.items()})
                options = {}
                if special.stochastic and layer.training and noise is not None:
                    options = {"noise": _noise_of(node, arguments, noise)}
                    drawn[name] = options["noise"]
                found, cache = layer.forward(*arguments, **options)
                caches[name] = cache
                if special.ports:
                    values.update(zip(special.ports, found, strict=True))
                else:
                    values[name] = found
                if special.buffers:
                    new = layer.next_buffers(cache)
                    buffers.update({b: new[key] for key, b in special.buffers.items()})
            except Exception as error:
                raise located(error, name, layer, "forward") from None
        output = tuple([values[result] for result in self.results])
        del values[None]
        return Tape(values, caches, output if len(output) > 1 else output[0], buffers, drawn)  # type: ignore[arg-type]

    def gradients(self, tape: Tape, grad_output: Output, *, wrt: Collection[str] = ()) -> Gradients:
        """Visit the nodes in reverse; gradients add where a value is used more than once.

        Args:
            tape: what `run` left.
            grad_output: the upstream gradient, built as the output is; None for an output without.
            wrt: names of inputs whose gradients are wanted besides the parameters'; only what
                leads to one of these is computed, so the first layer's input gradient is skipped.
        """
        grads = self._upstream(grad_output)
        nodes, values, caches = self.nodes, tape.values, tape.caches
        for index, ports, wanted, leaves in self._plan(tuple(wrt)):
            name, layer, sources = nodes[index]
            if ports:
                if grads.keys().isdisjoint(ports):
                    continue
                for port in ports:
                    if port not in grads:  # an output that nothing used
                        grads[port] = np.zeros_like(values[port])
                upstream = tuple([grads[port] for port in ports])
            elif name in grads:
                upstream = grads[name]
            else:
                continue  # no gradient arrived: the path was cut
            try:
                if wanted:
                    found, own = layer.backward(upstream, caches[name])
                    if len(found) != len(sources):
                        raise ValueError(_count(name, layer, len(found), sources))
                    for position, source in wanted:
                        grad = found[position]
                        if grad is not None:
                            grads[source] = grads[source] + grad if source in grads else grad
                else:
                    own = layer.grad_params(upstream, caches[name])
            except Exception as error:
                raise located(error, name, layer, "backward") from None
            for key, grad in own.items():
                leaf = leaves[key]
                grads[leaf] = grads[leaf] + grad if leaf in grads else grad
        return Gradients(grads, {p: grads.pop(p) for p in self.params if p in grads})

    # ── a graph as a layer ───────────────────────────────────────────────────────────────────────
    def forward(self, *inputs: Array | None, noise: Any = None) -> tuple[Output, Tape]:
        """Return the output, and the tape as its cache."""
        if len(inputs) > len(self.inputs):
            raise TypeError(
                f"{type(self).__name__} takes the inputs {', '.join(self.inputs)}; received "
                f"{len(inputs)} arrays."
            )
        tape = self.run(dict(zip(self.inputs, inputs, strict=False)), noise=noise)
        return tape.output, tape

    def backward(self, grad_output: Output, cache: Tape) -> tuple[tuple[Array | None, ...], Arrays]:
        """Return the gradients that arrive: None or no key where none does (see `Gradients`)."""
        found = self.gradients(cache, grad_output, wrt=self.inputs)
        return tuple(found.values.get(name) for name in self.inputs), found.params

    def grad_params(self, grad_output: Output, cache: Tape) -> Arrays:
        """Return the parameter gradients alone."""
        return self.gradients(cache, grad_output).params

    def next_buffers(self, cache: Tape) -> Arrays:
        """Return the buffers after the pass; calls of one module update them one after another."""
        return cache.buffers

    @property
    def rewrites(self) -> tuple[str, ...]:  # type: ignore[override]
        """The parameters that a forward pass changes, by dotted name (`Layer.rewrites`)."""
        return tuple(self._leaves[n.name][key] for n in self.nodes for key in n.layer.rewrites)

    def rewritten(self, cache: Tape) -> Arrays:
        """Return them as they are after the pass."""
        new: Arrays = {}
        for name, layer, _ in self.nodes:
            found = layer.rewritten(cache.caches[name])
            new |= {self._leaves[name][key]: p for key, p in found.items()}
        return new

    def draw(self, *inputs: Array | None, rng: np.random.Generator) -> dict[str, Noise]:
        """Return the noise of each random node, drawn in the order of the nodes."""
        return self.forward(*inputs, noise=rng)[1].noise

    def decisions(self, cache: Tape) -> Array | None:
        """Return the decisions of all nodes in a row."""
        found = [n.layer.decisions(cache.caches[n.name]) for n in self.nodes]
        rows = [np.ravel(d) for d in found if d is not None]
        return np.concatenate(rows) if rows else None

    # ── parameters, buffers, layers ──────────────────────────────────────────────────────────────
    def with_params(self, params: Mapping[str, Array]) -> Self:
        """Return the same network with other parameters (of any number system)."""
        nodes = list(self.nodes)
        for index, slots in self._slots:
            name, layer, sources = nodes[index]
            own = layer.with_params({key: params[leaf] for key, leaf in slots})
            nodes[index] = Node(name, own, sources)
        free = {name: params[name] for name in self.free}
        return self._twin(nodes=tuple(nodes), params={p: params[p] for p in self.params}, free=free)

    def with_buffers(self, buffers: Mapping[str, Array]) -> Self:
        """Return the same network with other buffers."""
        nodes = list(self.nodes)
        for index, special in enumerate(self._special):
            if special is not None:
                name, layer, sources = nodes[index]
                own = layer.with_buffers({k: buffers[b] for k, b in special.buffers.items()})
                nodes[index] = Node(name, own, sources)
        return self._twin(nodes=tuple(nodes), buffers={b: buffers[b] for b in self.buffers})

    def train(self, mode: bool = True) -> Self:
        """Return the same network with every layer in training, or in evaluation."""
        nodes = tuple(n._replace(layer=n.layer.train(mode)) for n in self.nodes)
        return self._twin(nodes=nodes, training=mode)

    def with_layers(self, layers: Mapping[str, Layer]) -> Self:
        """Return the same network with other layers at the named nodes."""
        nodes = tuple(n._replace(layer=layers.get(n.name, n.layer)) for n in self.nodes)
        twin = self._twin(nodes=nodes)
        twin._derive()
        return twin

    def state_names(self) -> dict[str, str]:
        """Return torch's `state_dict` keys, tied names included, and the name each one is of."""
        keys = [dotted(n.name, k) for n in self.nodes for k in (*n.layer.params, *n.layer.buffers)]
        keys += self.free
        return {key: self.tied.get(key, key) for key in keys}

    def _derive(self) -> None:
        """Work out from the nodes what both passes need."""
        self.params, self.buffers = self._gathered("params"), self._gathered("buffers")
        self.params |= {name: self.params.get(name, p) for name, p in self.free.items()}
        self._leaves = {n.name: self._named(n.name, n.layer.params) for n in self.nodes}
        self._slots = tuple(
            (index, tuple(self._leaves[n.name].items()))
            for index, n in enumerate(self.nodes)
            if n.layer.params
        )
        self._special = tuple(self._specialties(node) for node in self.nodes)
        read = {source for n in self.nodes for source in n.inputs} | set(self.results)
        self._read = tuple(leaf for leaf in self.params if leaf in read)
        self._plans: dict[Any, tuple[Step, ...]] = {}
        self.stochastic = any(n.layer.stochastic for n in self.nodes)
        if sum(map(len, self._leaves.values())) > len(self.params):  # shared: hold one array
            self.nodes = self.with_params(self.params).nodes

    def _gathered(self, kind: str) -> Arrays:
        """Return all parameters or buffers by their dotted names; a shared one is its owner's."""
        entries = [
            (node.name, key, dotted(node.name, key), array)
            for node in self.nodes
            for key, array in getattr(node.layer, kind).items()
        ]
        found: Arrays = {}
        for node, key, own, array in sorted(entries, key=lambda entry: entry[2] in self.tied):
            name = self.tied.get(own, own)
            if np.shape(found.setdefault(name, array)) != np.shape(array):
                raise ValueError(
                    f"Node '{node}' shares '{name}', which has shape {np.shape(found[name])}; its "
                    f"own {key} has shape {np.shape(array)}. Give both one shape, or untie them."
                )
        return found

    def _named(self, name: str, own: Arrays) -> dict[str, str]:
        return {key: self.tied.get(d := dotted(name, key), d) for key in own}

    def _specialties(self, node: Node) -> Special | None:
        layer, ports = node.layer, ports_of(node)
        buffers = self._named(node.name, layer.buffers)
        if len(ports) == 1 and not layer.stochastic and not buffers:
            return None
        return Special(ports if len(ports) > 1 else (), layer.stochastic, buffers)

    def _given(self, inputs: Array | Mapping[str, Array]) -> dict[str | None, Array]:
        """Return the values that are there before the first node."""
        values: dict[str | None, Array] = dict.fromkeys((None, *self.inputs))
        if not isinstance(inputs, Mapping):
            inputs = {self.inputs[0]: inputs}
        if not inputs.keys() <= values.keys():
            raise ValueError(
                f"The graph's inputs are {', '.join(self.inputs)}; received {', '.join(inputs)}."
            )
        values.update(inputs)
        for leaf in self._read:
            values[leaf] = self.params[leaf]
        return values

    def _upstream(self, grad_output: Output) -> Arrays:
        if len(self.results) == 1:
            return {self.results[0]: grad_output}
        grads: Arrays = {}
        for name, grad in zip(self.results, grad_output, strict=True):
            if grad is not None:
                grads[name] = grads[name] + grad if name in grads else grad
        return grads

    def _plan(self, wrt: tuple[str, ...]) -> tuple[Step, ...]:
        """Return, in backward order, each node between what is wanted and an output."""
        if wrt not in self._plans:
            self._plans[wrt] = tuple(self._planned({*wrt, *self.params}))
        return self._plans[wrt]

    def _planned(self, needed: set[str]) -> Iterable[Step]:
        for node in self.nodes:
            if node.layer.params or not needed.isdisjoint(node.inputs):
                needed.update(ports_of(node))
        useful: set[str | None] = set(self.results)
        for index, node in reversed(list(enumerate(self.nodes))):
            ports = ports_of(node)
            if useful.isdisjoint(ports) or node.name not in needed:
                continue
            useful.update(node.inputs)
            wanted = tuple((i, s) for i, s in enumerate(node.inputs) if s in needed)
            several = ports if len(ports) > 1 else ()
            yield Step(index, several, wanted, self._leaves[node.name])  # type: ignore[arg-type]

    def __repr__(self) -> str:
        rows = (f"  ({n.name}): {n.layer!r} <- {', '.join(map(str, n.inputs))}" for n in self.nodes)
        return "\n".join([f"{type(self).__name__}(", *rows, ")"])


class Sequential(Graph):
    """The simple case: each layer feeds the next; nodes are named 0, 1, 2, … as in torch.nn."""

    def __init__(self, *layers: Layer) -> None:
        names = [str(i) for i in range(len(layers))]
        super().__init__(zip(names, layers, [("input",), *((n,) for n in names)], strict=False))


def located(error: Exception, name: str, layer: Layer, method: str) -> Exception:
    """Note on an exception in which node and method it was raised; `.place` holds both."""
    if not hasattr(error, "place"):
        error.place = (name, method)  # type: ignore[attr-defined]
        error.add_note(f"raised by layer '{name}' ({layer!r}) in its {method}")
    return error


def _noise_of(node: Node, arguments: tuple, noise: Any) -> Noise:
    if isinstance(noise, np.random.Generator):
        return node.layer.draw(*arguments, rng=noise)
    return noise.get(node.name)


def _count(name: str, layer: Layer, found: int, sources: tuple) -> str:
    return (
        f"Node '{name}' ({layer!r}): backward must return one gradient per input, None for what "
        f"has none: {len(sources)} of them, received {found}."
    )
