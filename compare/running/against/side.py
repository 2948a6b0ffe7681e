"""The other torch as a torch side: what it is asked of goes to its process, as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from compare.running.against.condition import Condition
from compare.running.against.process import OtherProcess
from compare.running.moment import Start
from torch_ref.side import Alone, TorchSide

__all__ = ["OtherSide"]


class OtherSide:
    """Answers as a `TorchSide` does, for another torch.

    Args:
        process: in which it runs.
        condition: under which it runs.
        twin: this process's torch side of the same network: names and descriptions are its.
        threads: of torch.

    Raises:
        TorchRefusedError: the other torch refuses the network or the condition.
    """

    def __init__(
        self, process: OtherProcess, condition: Condition, twin: TorchSide, threads: int
    ) -> None:
        self.process, self.twin = process, twin
        self.device, self.clip = twin.device, twin.clip
        self.loss_module, self.penalties = twin.loss_module, twin.penalties
        self.network, self.parameters = twin.network, twin.parameters
        self.autocast, self.scaler = twin.autocast, twin.scaler
        self.compiled = condition.compile is not None
        self.overflowed = False
        self.start: Start | None = None
        self.found: dict[str, Any] = {}
        self.facts: dict[str, str] = process.ask(
            "build", described=twin.described, settings=condition.settings(threads)
        )

    @property
    def loss(self) -> Any:
        """This process's loss of the same step: what leads to it is named by it."""
        return self.twin.loss

    def begin(self, start: Start) -> None:
        """Take what the next step starts from, on both sides; `load` is not asked for."""
        self.start = start

    def load(self, weights: Any, buffers: Any = None) -> None:
        """Nothing: every step brings its own."""

    def tensor(self, array: Any) -> Any:
        """Return it as it is: it becomes a tensor over there."""
        return array

    def forward_backward(self, x: Any, target: Any, *, input_grad: bool = False) -> float:
        """Run the whole step, the update included.

        Raises:
            TorchRefusedError: what the other torch raised, or how its process ended.
        """
        assert self.start is not None
        start = {
            "params": self.start.params, "buffers": self.start.buffers,
            "states": self.start.states, "noise": self.start.noise,
        }  # fmt: skip
        self.found = self.process.ask(
            "step", start=start, x=x, target=target, lr=self.start.lr, input_grad=input_grad
        )
        self.facts |= self.found["compiled"]
        return self.found["loss"]

    def update(self, lr: float) -> None:
        """Answer with the updated numbers from now on."""
        self.overflowed = self.found["overflowed"]

    def alone(
        self, name: str, inputs: Sequence[Any], params: Mapping[str, np.ndarray],
        buffers: Mapping[str, np.ndarray], upstream: Any, wanted: int | None = None,
        names: Sequence[str] = (),
    ) -> Alone:  # fmt: skip
        """Run one piece by itself over there; compiled code runs as it was written."""
        found = self.process.ask(
            "alone", training=self.module_of(name).training, name=name, inputs=tuple(inputs),
            params=dict(params), buffers=dict(buffers), upstream=upstream, wanted=wanted,
            names=tuple(names),
        )  # fmt: skip
        return Alone(**found)

    def has(self, name: str) -> bool:
        return self.twin.has(name)

    def module_of(self, name: str) -> Any:
        """Return this process's module of a piece: its type, its arguments, its mode."""
        return self.twin.module_of(name)

    def settings_of(self, parameter: str) -> dict[str, Any]:
        return self.twin.settings_of(parameter)

    def outputs(self) -> dict[str, np.ndarray]:
        return self.found["outputs"]

    def grad_outputs(self) -> dict[str, np.ndarray]:
        return self.found["grad_outputs"]

    def grads(self) -> dict[str, np.ndarray]:
        return self.found["grads"]

    def params(self) -> dict[str, np.ndarray]:
        return self.found["params"]

    def state(self) -> dict[str, dict[str, Any]]:
        return self.found["state"]

    def buffers(self) -> dict[str, np.ndarray]:
        return self.found["buffers"]

    def winners(self) -> dict[str, np.ndarray]:
        return self.found["winners"]

    def noise(self) -> dict[str, Any]:
        """The draws that it was given."""
        assert self.start is not None
        return self.start.noise
