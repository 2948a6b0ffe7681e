"""Torch's optimisers as the harness builds them: stock, and loaded with a state bit by bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.manual.optimizer_checks import VARIANTS, flat, problem, torch_steps
from torch_ref import optimizers as torch_optimizers


def test_torch_build_refuses_an_unknown_name() -> None:
    with pytest.raises(ValueError, match=r"Unknown optimiser 'Sdg'; known are SGD"):
        torch_optimizers.build("Sdg", {}, {})


def test_torch_build_is_a_stock_optimiser_and_takes_lists_for_tuples() -> None:
    w = {"w": torch.nn.Parameter(torch.ones(2))}

    built = torch_optimizers.build("Adam", w, {"betas": [0.5, 0.75], "lr": 0.25})

    assert type(built) is torch.optim.Adam
    assert built.defaults["betas"] == (0.5, 0.75)
    assert built.param_groups[0]["params"][0] is w["w"]


@pytest.mark.parametrize(("name", "args"), VARIANTS)
def test_torch_state_loaded_into_a_new_optimiser_continues_bitwise(name: str, args: dict) -> None:
    params, grads = problem((2, 3), np.float32, 3)
    one = {k: torch.nn.Parameter(torch.tensor(p)) for k, p in params.items()}
    first = torch_optimizers.build(name, one, args)
    torch_steps(first, one, grads[:3])
    two = {k: torch.nn.Parameter(p.detach().clone()) for k, p in one.items()}
    second = torch_optimizers.build(name, two, args)
    arrays = {
        p: {k: v.numpy() for k, v in state.items()}
        for p, state in torch_optimizers.state_of(first, one).items()
    }
    torch_optimizers.load_state(second, two, arrays)

    torch_steps(first, one, grads[3:6])
    torch_steps(second, two, grads[3:6])

    ours = flat(two, torch_optimizers.state_of(second, two))
    for key, value in flat(one, torch_optimizers.state_of(first, one)).items():
        assert value.tobytes() == ours[key].tobytes()


def test_torch_load_state_copies() -> None:
    w = {"w": torch.nn.Parameter(torch.ones(2))}
    optimizer = torch_optimizers.build("SGD", w, {"momentum": 0.5})
    buffer = torch.ones(2)
    torch_optimizers.load_state(optimizer, w, {"w": {"momentum_buffer": buffer}})
    torch_steps(optimizer, w, [{"w": np.ones(2, np.float32)}])

    assert buffer.tolist() == [1.0, 1.0]
