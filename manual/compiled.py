"""A graph compiled: its two passes written out as the straight line of calls that they come to.

The interpreter (`Graph.run`, `Graph.gradients`) looks every name up and keeps every value. A small
network spends most of its time there. Here values and caches are local variables of a function that
is generated once, and the calls are bound methods: the same calls in the same order, so the numbers
are the same bits.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

from manual.graph import Graph, Step, _count, _noise_of, located
from manual.layer import Array, Arrays, Noise, Output

__all__ = ["Compiled", "compiled"]


class Done(NamedTuple):
    """What a compiled pass forward and backward leaves."""

    output: Output
    gradients: dict[str, Array]  # of parameters and of what else was asked for; absent as in Graph
    buffers: Arrays  # after the pass


class Compiled:
    """The two passes of a graph whose parameters stay where they are.

    Args:
        graph: its parameters are read at every call, and may be written in place between calls.
        wrt: names of inputs whose gradients are wanted besides the parameters'.

    Attributes:
        source: the generated function.
    """

    def __init__(self, graph: Graph, wrt: Collection[str] = ()) -> None:
        if graph.rewrites:
            raise ValueError(
                f"compiled: a forward pass changes {', '.join(graph.rewrites)} (max_norm), and "
                "these passes leave parameters as they are. Use Graph.run and Graph.rewritten."
            )
        self.graph = graph
        writer = _Writer(graph, tuple(wrt))
        self.names = tuple(writer.found)
        self.source, self._places = writer.source(), writer.places
        self._leaves = writer.variables
        self._scope = writer.scope
        exec(compile(self.source, f"<{type(graph).__name__} compiled>", "exec"), writer.scope)
        self.call: Any = writer.scope["passes"]

    def bind(self, params: Mapping[str, Array]) -> None:
        """Go on with other parameters, of any number system."""
        self.graph = self.graph.with_params(params)
        self._scope |= _bound(self.graph)
        for leaf in self.graph._read:
            self._scope[self._leaves[leaf]] = self.graph.params[leaf]

    def __call__(
        self,
        inputs: Array | Mapping[str, Array],
        grad_output: Output | None = None,
        *,
        noise: Mapping[str, Noise] | np.random.Generator | None = None,
        buffers: Arrays | None = None,
    ) -> Done:
        """Run both passes.

        Args:
            inputs, noise: as for `Graph.run`.
            grad_output: the upstream gradient, built as the output is; None for ones.
            buffers: before the pass; None for the graph's own.
        """
        values = self.graph._given(inputs)
        given = [values[name] for name in self.graph.inputs]
        before = self.graph.buffers if buffers is None else buffers
        output, grads, after = self.run(given, grad_output, noise, before)
        found = {name: g for name, g in zip(self.names, grads, strict=True) if g is not None}
        return Done(output, found, after)

    def run(self, inputs: Any, grad_output: Any, noise: Any, buffers: Arrays) -> tuple:
        """Return the output, the gradients in the order of `names`, and the buffers after it."""
        try:
            return self.call(*inputs, grad_output, noise, buffers)
        except Exception as error:
            raise self._located(error) from None

    def _located(self, error: Exception) -> Exception:
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code is not self.call.__code__:
            trace = trace.tb_next
        place = self._places.get(trace.tb_lineno) if trace is not None else None
        if place is None:
            return error
        index, method = place
        return located(error, self.graph.nodes[index].name, self.graph.nodes[index].layer, method)


def ones_like(value: Any) -> Any:
    """Return ones of the value's number system; np.ones_like takes long for one number."""
    one = _ONES.get(type(value))
    return np.ones_like(value) if one is None else one


_ONES = {np.float64: np.float64(1), np.float32: np.float32(1)}


def compiled(graph: Graph, wrt: Collection[str] = ()) -> Compiled:
    """Return the graph's two passes as one straight line of calls."""
    return Compiled(graph, wrt)


class _Writer:
    """Writes a graph's plan out as a function: `v` values, `c` caches, `g` gradients."""

    def __init__(self, graph: Graph, wrt: tuple[str, ...]) -> None:
        self.graph = graph
        self.scope = {"ones": ones_like, "zeros": np.zeros_like, "drawn": _noise_of}
        self.scope |= {"count": _count} | _bound(graph)
        self.lines = [""]
        self.places: dict[int, tuple[int, str]] = {}  # line: (node, method)
        self.variables: dict[str | None, str] = {None: "None"}
        self.arrived: set[str] = set()  # values with a gradient so far
        for name in graph.inputs:
            self._variable(name)
        for leaf in graph._read:
            self.scope[self._variable(leaf)] = graph.params[leaf]
        self._forward()
        self._upstream()
        for step in graph._plan(wrt):
            self._backward(step)
        self.found = [n for n in (*graph.params, *wrt) if n in self.arrived]
        buffers = ", ".join(f"{b!r}: {self._buffer(b)}" for b in graph.buffers)
        grads = "".join(f"{self._gradient(n)}, " for n in self.found)
        gradients = [f"{self._gradient(name)} = " for name in sorted(self.arrived)]
        self.lines[0] = f"{''.join(gradients)}None"
        self._write(f"return {self._tuple(graph.results)}, ({grads}), {{{buffers}}}")

    def source(self) -> str:
        inputs = "".join(f"{self.variables[name]}, " for name in self.graph.inputs)
        return "\n    ".join([f"def passes({inputs}up, noise, buffers):", *self.lines]) + "\n"

    def _write(self, line: str, node: int | None = None, method: str = "") -> None:
        self.lines.append(line)
        if node is not None:
            self.places[len(self.lines) + 1] = node, method

    def _variable(self, name: str) -> str:
        return self.variables.setdefault(name, f"v{len(self.variables)}")

    def _gradient(self, name: str) -> str:
        return f"g_{self._variable(name)}"

    def _buffer(self, name: str) -> str:
        return f"state{list(self.graph.buffers).index(name)}"

    def _tuple(self, names: Any) -> str:
        variables = [self.variables[name] for name in names]
        return variables[0] if len(variables) == 1 else f"({', '.join(variables)})"

    def _forward(self) -> None:
        for name in self.graph.buffers:
            self._write(f"{self._buffer(name)} = buffers[{name!r}]")
        for i, (node, special) in enumerate(
            zip(self.graph.nodes, self.graph._special, strict=True)
        ):
            arguments = [self.variables[source] for source in node.inputs]
            call = f"f{i}"
            if special is not None and special.buffers:
                own = ", ".join(f"{k!r}: {self._buffer(b)}" for k, b in special.buffers.items())
                self._write(f"m{i} = l{i}.with_buffers({{{own}}})", i, "forward")
                call = f"m{i}.forward"
            ports = special.ports if special is not None and special.ports else (node.name,)
            left = ", ".join(self._variable(port) for port in ports)
            left = f"({left}), c{i}" if len(ports) > 1 else f"{left}, c{i}"
            plain = f"{left} = {call}({', '.join(arguments)})"
            if special is not None and special.stochastic and node.layer.training:
                shown = "".join(f"{a}, " for a in arguments)
                self._write("if noise is None:")
                self._write(f"    {plain}", i, "forward")
                self._write("else:")
                drawn = f"noise=drawn(n{i}, ({shown}), noise)"
                self._write(f"    {left} = {call}({shown}{drawn})", i, "forward")
            else:
                self._write(plain, i, "forward")
            if special is not None and special.buffers:
                self._write(f"new = m{i}.next_buffers(c{i})", i, "forward")
                for key, buffer in special.buffers.items():
                    self._write(f"{self._buffer(buffer)} = new[{key!r}]", i, "forward")

    def _upstream(self) -> None:
        results = self.graph.results
        if len(results) == 1:
            self._write(f"{self._gradient(results[0])} = ones({self.variables[results[0]]}) "
                        "if up is None else up")  # fmt: skip
            self.arrived.add(results[0])
            return
        ones = ", ".join(f"ones({self.variables[name]})" for name in results)
        self._write(f"up = ({ones}) if up is None else up")
        for i, name in enumerate(results):
            self._add(name, f"up[{i}]")

    def _add(self, name: str, found: str, node: int | None = None) -> None:
        """Add a gradient, which may be None, to what has arrived at a value."""
        grad, indent = self._gradient(name), "" if node is None else "    "
        if name in self.arrived:
            self._write(f"{indent}t = {found}")
            self._write(f"{indent}if t is not None:")
            self._write(
                f"{indent}    {grad} = t if {grad} is None else {grad} + t", node, "backward"
            )
        else:
            self.arrived.add(name)
            self._write(f"{indent}{grad} = {found}")

    def _backward(self, step: Step) -> None:
        i, node = step.node, self.graph.nodes[step.node]
        ports = step.ports or (node.name,)
        if self.arrived.isdisjoint(ports):
            return
        grads = [self._gradient(port) for port in ports]
        arrived = " or ".join(f"{grad} is not None" for grad in grads)
        self._write(f"if {arrived}:")  # else the path was cut
        if step.ports:
            for port, grad in zip(ports, grads, strict=True):
                self.arrived.add(port)
                value = self.variables[port]
                self._write(f"    {grad} = zeros({value}) if {grad} is None else {grad}")
        up = grads[0] if not step.ports else f"({', '.join(grads)})"
        if step.wanted:
            count = len(node.inputs)
            self._write(f"    t{i}, o{i} = b{i}({up}, c{i})", i, "backward")
            self._write(f"    if len(t{i}) != {count}:", i, "backward")
            told = f"count(n{i}.name, l{i}, len(t{i}), n{i}.inputs)"
            self._write(f"        raise ValueError({told})", i, "backward")
            for position, source in step.wanted:
                self._add(source, f"t{i}[{position}]", i)
        else:
            self._write(f"    o{i} = q{i}({up}, c{i})", i, "backward")
        for key, leaf in step.params.items():
            self._add(leaf, f"o{i}.get({key!r})", i)


def _bound(graph: Graph) -> dict[str, Any]:
    """Return the generated function's names for nodes, layers and their methods."""
    scope: dict[str, Any] = {}
    for i, node in enumerate(graph.nodes):
        layer = node.layer
        scope |= {f"n{i}": node, f"l{i}": layer, f"f{i}": layer.forward}
        scope |= {f"b{i}": layer.backward, f"q{i}": layer.grad_params}
    return scope
