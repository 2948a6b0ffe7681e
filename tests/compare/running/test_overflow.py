"""Numbers beyond what squares can hold: never a verdict against right code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import compare

pytestmark = pytest.mark.usefixtures("verdict_alone")
CLIPPED = """
name = "clipped"
data = {{ file = "{file}", features = ["x"], target = "y" }}
layers = [{{ type = "Linear", in_features = 3, out_features = 2 }}]
loss = {{ type = "MSELoss" }}
optimizer = {{ type = "SGD", lr = 0.1, clip_norm = 1.0 }}
init = {{ scheme = "normal", std = {std} }}
train = {{ steps = 2, batch_size = 8, dtype = "float32" }}
"""


@pytest.mark.parametrize(("std", "verdict"), [(1.0, "agree"), (1e20, "incomplete")])
def test_torchs_norm_may_overflow_while_the_gradients_are_finite(
    std: float, verdict: str, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "d.npz", x=rng.standard_normal((8, 3)), y=rng.standard_normal((8, 2)))
    (tmp_path / "c.toml").write_text(CLIPPED.format(file=tmp_path / "d.npz", std=std))

    report = compare.run(tmp_path / "c.toml")

    assert report.verdict == verdict
    assert not report.differences["verdict"].eq("disagree").any()


@pytest.mark.parametrize(
    ("plant", "verdict"), [(None, "agree"), ("1.grad_input*=1.01", "disagree")]
)
def test_a_sigmoid_that_torch_flushes_to_zero_is_no_mistake(
    plant: str | None, verdict: str
) -> None:
    report = compare.run("twenty-lines", steps=22, optimizer__lr=1.0, plant=plant)

    assert report.verdict == verdict
