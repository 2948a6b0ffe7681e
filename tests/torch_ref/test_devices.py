"""The torch side makes its tensors where its inputs are: seen without a GPU, on the meta device.

Tensors there have shapes and no numbers, and an operation on one of them and one of the CPU's
raises as it does on a GPU. What asks for numbers on the way cannot be seen so (`UNSEEN`).
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from compare.description.config import load
from compare.description.data.dataset import named
from compare.pair.example import made
from compare.running.experiment import prepare
from manual import registry
from torch_ref import losses
from torch_ref.classes import module_class
from torch_ref.side import TorchSide

NEEDS_NUMBERS = ("on meta tensors", "copy out of meta", "data-independent", "no fake impl")
OURS = sorted(
    {
        name
        for table in registry.KINDS.values()
        for name, cls in table.items()
        if cls.examples and module_class(name).__module__.startswith("torch_ref")
        if not issubclass(module_class(name), nn.RNNBase)  # torch's own, packed
    }
)
UNSEEN = {
    "CTCLoss", "CovGate", "EmbeddingBag", "Transformer", "TransformerDecoder", "TransformerEncoder",
}  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore:Implicit dimension choice", "ignore:Using padding")


def on_meta(x: Any) -> Any:
    return torch.tensor(x, device="meta") if isinstance(x, np.ndarray) else x


def run_on_meta(name: str, example: Any) -> str:
    """Run torch's twin of an example; return why it cannot be seen, or ""."""
    cls = next(table[name] for table in registry.KINDS.values() if name in table)
    case = made(cls, example, np.random.default_rng(0), np.dtype(np.float64))
    arguments = {
        k: torch.tensor(v, dtype=torch.float64)
        if isinstance(v, list) and name in vars(losses)
        else v
        for k, v in example.arguments.items()
    }
    twin = module_class(name)(**arguments).double().to("meta").train(example.training)
    return why_unseen(twin, [on_meta(x) for x in case.inputs])


def why_unseen(module: nn.Module, inputs: list[Any]) -> str:
    """Run a module forward and back; what is on another device raises."""
    for x in inputs:
        if isinstance(x, torch.Tensor) and x.is_floating_point():
            x.requires_grad_()
    try:
        total: Any = sum(t.sum() for t in _tensors(module(*inputs)) if t.requires_grad)
        if isinstance(total, torch.Tensor):
            total.backward()
    except (RuntimeError, NotImplementedError) as error:
        if not any(text in str(error) for text in NEEDS_NUMBERS):
            raise
        return str(error)
    return ""


def _tensors(y: Any) -> list[Any]:
    return [y] if isinstance(y, torch.Tensor) else [t for part in y for t in _tensors(part)]


def test_every_layer_that_torch_lacks_stays_on_its_inputs_device() -> None:
    unseen = set()
    for name in OURS:
        cls = next(table[name] for table in registry.KINDS.values() if name in table)
        for example in cls.examples:
            if example.inputs and run_on_meta(name, example):
                unseen.add(name)

    assert len(OURS) > 40
    assert unseen <= UNSEEN, unseen


class Forgetful(nn.Module):
    """Makes its positions on the CPU, wherever its input is."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.arange(len(x), dtype=x.dtype)


def test_a_tensor_left_on_the_cpu_is_noticed() -> None:
    with pytest.raises(RuntimeError, match="not on the expected device meta"):
        why_unseen(Forgetful(), [torch.ones(3, device="meta", dtype=torch.float64)])


@pytest.mark.parametrize("name", ["digits-cnn", "tiny-gpt", "wine", "maxout", "ntm"])
def test_a_network_its_loss_and_its_gradients_stay_on_one_device(name: str) -> None:
    experiment = prepare(load(name))
    described = dict(experiment.torch.described, device="meta")
    nodes = [SimpleNamespace(**node) for node in described.pop("nodes")]
    side = TorchSide(nodes, **described)
    x, target = experiment.rows(next(iter(experiment.batches(1))))
    inputs = {key: side.tensor(array) for key, array in named(x).items()}
    loss = side.loss_module(side.network(inputs), side.tensor(target))
    loss.backward()

    assert loss.is_meta
    assert all(p.grad is not None and p.grad.is_meta for p in side.parameters.values())
