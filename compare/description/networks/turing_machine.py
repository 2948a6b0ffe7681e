"""The Neural Turing Machine of Graves, Wayne and Danihelka (2014), unrolled over the copy task."""

from __future__ import annotations

from typing import Any

Table = dict[str, Any]


def neural_turing_machine(
    bits: int = 3,
    length: int = 2,
    places: int = 8,
    width: int = 5,
    hidden_size: int = 12,
    shifts: int = 3,
) -> list[Table]:
    """Neural Turing Machine: an LSTM that writes to and reads from a memory, on the copy task.

    Args:
        bits: of one symbol. The input has two channels more, for the flags at both ends.
        length: symbols of a sequence; the network runs for 2 · length + 2 steps.
        places: N, the rows of the memory.
        width: M, the numbers that a place holds.
        hidden_size: of the controller.
        shifts: by how many places a head can move, an odd number: 3 for -1, 0, 1.

    Raises:
        ValueError: a size is less than 1, or `shifts` is even.
    """
    sizes = {"bits": bits, "length": length, "places": places, "width": width,
             "hidden_size": hidden_size, "shifts": shifts}  # fmt: skip
    if low := [name for name, size in sizes.items() if size < 1]:
        raise ValueError(f"{', '.join(low)} must be at least 1.")
    if shifts % 2 == 0:
        raise ValueError(f"shifts must be odd, to both sides alike; received {shifts}.")
    steps = 2 * length + 2
    machine = Machine(width, hidden_size, shifts)
    nodes = machine.begin(steps, places)
    for t in range(steps):
        nodes += machine.step(t, bits + 2)
        if t >= steps - length:
            nodes += machine.say(t, bits)
    said = [f"symbol@{t}" for t in range(steps - length, steps)]
    return [*nodes, table("output", "Concatenate", *said)] if length > 1 else nodes


def table(name: str, kind: str, *inputs: str | None, **arguments: Any) -> Table:
    """Return a layer's table; an input that is None is left out."""
    return {"name": name, "type": kind, "inputs": [s for s in inputs if s], **arguments}


class Machine:
    """The tables of each step, with the sizes that they share. Equations: the paper's."""

    def __init__(self, width: int, hidden_size: int, shifts: int) -> None:
        self.width, self.hidden_size, self.shifts = width, hidden_size, shifts

    def begin(self, steps: int, places: int) -> list[Table]:
        """The input step by step, and what the memory and the read vector begin with."""
        return [
            table("input_at", "Unbind", "input", dim=1, count=steps),
            table("memory_0", "InitialState", "input", shape=[places, self.width]),
            table("read_0", "InitialState", "input", shape=[self.width]),
        ]

    def step(self, t: int, channels: int) -> list[Table]:
        """One step: the controller, then the write head, then the read head."""
        before = f"@{t - 1}"
        x = f"input_at:{t}" if t else "input_at"
        read, memory = (f"read{before}", f"memory{before}") if t else ("read_0", "memory_0")
        state = (f"controller{before}", f"controller{before}:c_1") if t else (None, None)
        return [
            table(f"seen@{t}", "Concatenate", x, read),
            table(f"controller@{t}", "LSTMCell", f"seen@{t}", *state,
                  input_size=channels + self.width, hidden_size=self.hidden_size),
            *self.address("writer", t, memory),
            *self.write(t, memory),
            *self.address("reader", t, f"memory@{t}"),
            table(f"read@{t}", "MemoryRead", f"memory@{t}", f"reader.weights@{t}"),  # (2)
        ]  # fmt: skip

    def address(self, head: str, t: int, memory: str) -> list[Table]:
        """Where a head looks: by content, then from where it was, moved and sharpened."""

        def node(name: str, kind: str, *inputs: str | None, **arguments: Any) -> Table:
            return table(f"{head}.{name}@{t}", kind, *inputs, **arguments)

        def here(name: str) -> str:
            return f"{head}.{name}@{t}"

        old = f"{head}.weights@{t - 1}" if t else None
        return [
            *self.emitted(head, t, "key", self.width),
            node("key_row", "Unflatten", here("key"), dim=1, unflattened_size=[1, self.width]),
            node("similarity", "CosineSimilarity", memory, here("key_row"), dim=-1),  # (6)
            *self.emitted(head, t, "beta", 1, "Softplus"),
            node("scores", "MultiplyGate", here("similarity"), here("beta")),
            node("content", "Softmax", here("scores"), dim=-1),  # (5)
            *self.emitted(head, t, "gate", 1, "Sigmoid"),
            node("gated", "Interpolation", here("content"), here("gate"), old),  # (7)
            *self.emitted(head, t, "shift", self.shifts, "Softmax", dim=-1),
            node("shifted", "CircularConvolution", here("gated"), here("shift")),  # (8)
            *self.emitted(head, t, "excess", 1, "Softplus"),
            node("gamma", "AddConstantGate", here("excess"), constant=1.0),
            node("weights", "Sharpening", here("shifted"), here("gamma")),  # (9)
        ]

    def write(self, t: int, memory: str) -> list[Table]:
        """The memory after the write head has erased from it and added to it."""
        weights = f"writer.weights@{t}"
        return [
            *self.emitted("writer", t, "erase", self.width, "Sigmoid"),
            *self.emitted("writer", t, "add", self.width),
            table(f"erased@{t}", "MemoryErase", memory, weights, f"writer.erase@{t}"),  # (3)
            table(f"memory@{t}", "MemoryAdd", f"erased@{t}", weights, f"writer.add@{t}"),  # (4)
        ]

    def emitted(
        self, head: str, t: int, name: str, size: int, squash: str = "", **arguments: Any
    ) -> list[Table]:
        """What the controller tells a head: an affine map, and a function that bounds it."""
        linear = f"{head}.{name}_in@{t}" if squash else f"{head}.{name}@{t}"
        sizes = {"in_features": self.hidden_size, "out_features": size}
        found = [table(linear, "Linear", f"controller@{t}", **sizes)]
        if squash:
            found.append(table(f"{head}.{name}@{t}", squash, linear, **arguments))
        return found

    def say(self, t: int, bits: int) -> list[Table]:
        """The logits of one symbol, from what the controller knows and what was read."""
        size = self.hidden_size + self.width
        return [
            table(f"told@{t}", "Concatenate", f"controller@{t}", f"read@{t}"),
            table(f"symbol@{t}", "Linear", f"told@{t}", in_features=size, out_features=bits),
        ]
