"""WeightNorm and SpectralNorm: torch's parametrisations, step by step, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import torch_ref.layers
from manual import registry
from manual.norm.parametrized import SpectralNorm, WeightNorm
from torch_ref.hybrid import as_torch

CONV = {"type": "ConvTranspose2d", "in_channels": 2, "out_channels": 3, "kernel_size": (2, 3)}
NORM = {"type": "BatchNorm2d", "num_features": 2}
CASES: list[tuple[Any, dict[str, Any]]] = [
    (WeightNorm, {}), (WeightNorm, {"dim": 2}), (WeightNorm, {"dim": None}),
    (WeightNorm, {"dim": -1}), (SpectralNorm, {}), (SpectralNorm, {"dim": -2}),
    (SpectralNorm, {"n_power_iterations": 3}),
]  # fmt: skip


@pytest.mark.parametrize(("cls", "options"), CASES)
@pytest.mark.parametrize("table", [CONV, NORM], ids=["ConvTranspose2d", "BatchNorm2d"])
def test_step_by_step_it_is_torchs_parametrisation(cls: Any, options: Any, table: Any) -> None:
    if table is NORM:
        options = {k: 0 if k == "dim" and v else v for k, v in options.items()}
    torch.manual_seed(0)
    twin = getattr(torch_ref.layers, cls.__name__)(table, **options).double()
    layer = cls(registry.find(table["type"])(**{k: v for k, v in table.items() if k != "type"}),
                **options)  # fmt: skip
    ours = as_torch(layer).double()
    assert set(ours.state_dict()) == set(twin.state_dict())
    ours.load_state_dict(twin.state_dict())
    for training in (True, True, False):
        x = torch.randn(2, 2, 3, 4, dtype=torch.float64, requires_grad=True)
        found = []
        for module in (ours, twin):
            y = module.train(training)(x)
            named = dict(module.named_parameters())
            grads = torch.autograd.grad(y, [x, *named.values()], torch.sin(7 * y.detach()))
            found.append({"y": y, **dict(zip(["x", *named], grads, strict=True)),
                          **dict(module.named_buffers())})  # fmt: skip

        assert set(found[0]) == set(found[1])
        for name, value in found[1].items():
            assert torch.allclose(found[0][name], value, rtol=1e-10, atol=1e-12), name
        assert not torch.allclose(found[0]["y"] * 1.001, found[1]["y"])


def test_the_gradient_of_v_is_across_it() -> None:
    rng = np.random.default_rng(0)
    layer = WeightNorm(registry.find("Linear")(3, 2))
    layer = layer.with_params({k: rng.normal(size=p.shape) for k, p in layer.params.items()})
    y, cache = layer.forward(rng.normal(size=(4, 3)))
    _, grads = layer.backward(np.ones_like(y), cache)
    v, dv = (d["parametrizations.weight.original1"] for d in (layer.params, grads))

    np.testing.assert_allclose((v * dv).sum(axis=1), 0, atol=1e-14)
    assert np.abs(dv).max() > 0.1


LINEAR = {"type": "Linear", "in_features": 3, "out_features": 2}


@pytest.mark.parametrize("cls", [WeightNorm, SpectralNorm])
@pytest.mark.parametrize(
    ("module", "options", "error", "message"),
    [
        (nn.Linear(3, 2), {}, TypeError, "must be a hand-written layer"),
        ({"type": "Nothing"}, {}, TypeError, "must be a hand-written layer"),
        ({"type": "Dropout"}, {}, TypeError, "that draws nothing"),
        ({"type": "ReLU"}, {}, ValueError, r"has no parameter 'weight'. It has: none"),
        (LINEAR, {"name": "wieght"}, ValueError, "has no parameter 'wieght'. It has: weight, bias"),
        (LINEAR, {"dim": 2}, (ValueError, IndexError), "dim must be an axis of 'weight'"),
        (LINEAR, {"dim": -3}, (ValueError, IndexError), "received -3"),
    ],
)
def test_what_does_not_fit_is_refused(
    cls: Any, module: Any, options: Any, error: Any, message: str
) -> None:
    with pytest.raises(error, match=message):
        cls(module, **options)


def test_no_power_iteration_is_refused() -> None:
    with pytest.raises(ValueError, match="n_power_iterations must be at least 1, received 0"):
        SpectralNorm(LINEAR, n_power_iterations=0)
