"""The torch side in a process of its own: it builds one, and answers what is asked of it.

`main` is called by a few lines given to the other interpreter, which make `torch_ref` known there
without anything else of this environment (`compare.running.against.process`). Requests come in by
the standard input; answers leave by what was the standard output, which prints cannot reach.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from threading import Thread
from types import SimpleNamespace
from typing import Any

__all__ = ["Worker", "main", "mark"]


def mark(word: str) -> bytes:
    """Return the line after which answers come: what was printed before it is none."""
    return f"\nhandgrad-worker {word}\n".encode()


def main(word: str, parent: int) -> None:
    """Say which versions are here, then answer until the other side closes the pipe, or ends.

    Args:
        word: known to the other side alone.
        parent: the process that asks.
    """
    Thread(target=_end_with, args=(parent,), daemon=True).start()
    answers, requests = os.fdopen(os.dup(1), "wb"), os.fdopen(os.dup(0), "rb")
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    import numpy
    import torch

    from torch_ref.pipe import receive, send

    answers.write(mark(word))
    versions = {"torch": torch.__version__, "numpy": numpy.__version__}
    send(answers, versions | {"python": platform.python_version()})
    worker = Worker()
    while True:
        try:
            name, arguments = receive(requests)
        except EOFError:
            return
        try:
            answer = {"found": getattr(worker, name)(**arguments)}
        except Exception as error:
            answer = {"error": (type(error).__name__, str(error))}
        sys.stdout.flush()
        send(answers, answer)


def _end_with(parent: int) -> None:
    """End this process, whatever it is doing, once its parent has ended without ending it."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


class Worker:
    """What can be asked; arguments and answers are plain values and arrays."""

    def __init__(self) -> None:
        self.side: Any = None
        self.kept: Any = None

    def build(self, described: dict[str, Any], settings: dict[str, Any]) -> dict[str, str]:
        """Build the torch side, and return what it computes with."""
        import torch

        from torch_ref.facts import facts
        from torch_ref.gpu import reproducible
        from torch_ref.side import TorchSide

        if settings["threads"] is not None:
            torch.set_num_threads(settings["threads"])
        if settings["deterministic"]:
            torch.use_deterministic_algorithms(True)
        if not settings["mkldnn"]:
            torch._C._set_mkldnn_enabled(False)
        self.kept = reproducible(described["device"])  # for as long as this process lives
        self.kept.__enter__()
        nodes = [SimpleNamespace(**node) for node in described.pop("nodes")]
        self.side = TorchSide(nodes, **described)  # type: ignore[arg-type]
        self.side.network.given = {}
        if settings["compile"] is not None:
            from torch_ref.compiled import compiled

            self.side = compiled(self.side, settings["compile"])
        return facts() | self._compiled()

    def step(
        self, start: dict[str, Any], x: Any, target: Any, lr: float, input_grad: bool
    ) -> dict[str, Any]:
        """Run one training step from where another side started it, with its draws.

        Args:
            start: its `params`, `buffers`, `states`, and what it drew as `noise`.
        """
        from torch_ref.optimizers import load_state

        side = self.side
        self._give(start["noise"])
        side.load(start["params"], start["buffers"])
        load_state(side.optimizer, side.parameters, start["states"])
        loss = side.forward_backward(side.tensor(x), side.tensor(target), input_grad=input_grad)
        found = {
            "loss": loss, "outputs": side.outputs(), "grad_outputs": side.grad_outputs(),
            "grads": {name: grad.copy() for name, grad in side.grads().items()},
            "winners": side.winners(), "buffers": side.buffers(),
        }  # fmt: skip
        side.update(lr)
        found |= {"params": side.params(), "state": side.state(), "overflowed": side.overflowed}
        return found | {"compiled": self._compiled()}

    def alone(self, *, training: bool, name: str, **arguments: Any) -> dict[str, Any]:
        """Run one piece by itself, as `TorchSide.alone` does."""
        module = self.side.module_of(name)
        before = module.training
        module.train(training)
        try:
            return self.side.alone(name, **arguments)._asdict()
        finally:
            module.train(before)

    def _give(self, noise: dict[str, Any]) -> None:
        several = {k: v if isinstance(v, tuple) else (v,) for k, v in noise.items()}
        tensor = self.side.tensor
        self.side.network.given = {k: tuple(map(tensor, v)) for k, v in several.items()}

    def _compiled(self) -> dict[str, str]:
        told = getattr(self.side, "told", None)
        return {} if told is None else {"compile": told()}
