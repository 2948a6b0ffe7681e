"""The torch side on a GPU, TF32 off; skipped where there is none."""

from __future__ import annotations

import pytest
import torch

import compare

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@needs_cuda
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ["digits", "residual", "maxout", "deep-sigmoid"])
def test_preset_agrees_on_a_gpu(name: str, dtype: str) -> None:
    report = compare.run(name, steps=10, dtype=dtype, device="cuda", drift=False)

    assert report.verdict == "agree", report
    assert report.environment["device"] == "cuda"


@needs_cuda
def test_a_planted_mistake_is_named_on_a_gpu() -> None:
    report = compare.run("digits", steps=1, device="cuda", plant="2.weight.grad*=1.01")

    assert report.first_divergence is not None
    assert report.first_divergence.layer == "2"


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is there")
def test_a_gpu_that_is_not_there_is_a_users_mistake() -> None:
    with pytest.raises(compare.UserError, match="no CUDA device"):
        compare.run("digits", steps=1, device="cuda")
