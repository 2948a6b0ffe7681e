"""The scale of a loss, step by step beside torch's GradScaler."""

from __future__ import annotations

import numpy as np
import torch

from manual.scaling import LossScaler


def test_a_scale_follows_torchs_through_growth_and_overflow() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], lr=0.5)
    theirs = torch.amp.GradScaler(
        "cpu", init_scale=8.0, growth_factor=4.0, backoff_factor=0.25, growth_interval=2
    )
    ours = LossScaler(8.0, 0, 4.0, 0.25, 2)
    mine = np.ones(2)
    for grad in (1.0, np.inf, 1.0, 2.0, np.nan, 0.5, 0.25, 1.0):
        theirs.scale(weight.sum()).backward()  # asks for the scale
        weight.grad = torch.full((2,), grad * ours.scale)
        theirs.step(optimizer)
        theirs.update()
        unscaled, found = ours.unscale({"w": np.full(2, grad * ours.scale)})
        mine = mine if found else mine - 0.5 * unscaled["w"]
        ours = ours.after(found)

        assert theirs.state_dict()["scale"] == ours.scale
        assert theirs.state_dict()["_growth_tracker"] == ours.tracker
        np.testing.assert_array_equal(weight.detach().numpy(), mine)
