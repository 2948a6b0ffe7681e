"""The torch side on a GPU: skipped where there is none, save what can be asked without."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import compare
from tests.compare.digits_by_rows import DIGITS_BY_ROWS
from torch_ref.draws import NotRecordableError, Recorder, Replay
from torch_ref.gpu import devices_that_draw, refuse_hidden_draws, reproducible

DROPPING = f"""
name = "dropping"
{DIGITS_BY_ROWS}
[[layers]]
name = "head"
type = "Linear"
in_features = 6
out_features = 10
[loss]
type = "CrossEntropyLoss"
[optimizer]
type = "Adam"
[train]
steps = 2
[compare]
drift = false
"""


# ── on a GPU ─────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.cuda
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    "name",
    ["digits", "residual", "maxout", "deep-sigmoid", "digits-cnn", "digits-lstm", "verses-gru",
     "tiny-gpt", "wine", "temporal-order", "ntm"],
)  # fmt: skip
def test_preset_agrees_on_a_gpu(name: str, dtype: str) -> None:
    report = compare.run(name, steps=5, dtype=dtype, device="cuda", drift=False)

    assert report.verdict == "agree", report
    assert report.environment["device"] == "cuda"
    assert "TF32 off, deterministic kernels" in report.environment["gpu"]


@pytest.mark.cuda
def test_a_planted_mistake_is_named_on_a_gpu() -> None:
    report = compare.run("digits", steps=1, device="cuda", plant="2.weight.grad*=1.01")

    assert report.first_divergence is not None
    assert report.first_divergence.layer == "2"
    assert report.cause is not None


@pytest.mark.cuda
def test_a_free_run_on_a_gpu_is_told() -> None:
    assert len(compare.run("digits", steps=3, device="cuda", mode="free").drift) == 3


@pytest.mark.cuda
def test_two_runs_on_a_gpu_are_the_same_bit_for_bit() -> None:
    one, two = (
        compare.run("digits-cnn", steps=3, device="cuda", dtype="float32", drift=False).differences
        for _ in range(2)
    )

    assert one.equals(two)


@pytest.mark.cuda
def test_another_torch_on_a_gpu_has_the_same_bits() -> None:
    report = compare.run("wine", steps=2, device="cuda", drift=False, against="threads=1")

    assert report.verdict == "agree", report
    assert {t.status for t in report.against.tensors()} == {"bit for bit"}  # type: ignore[union-attr]


@pytest.mark.cuda
def test_a_sweep_runs_on_a_gpu(tmp_path: Path) -> None:
    base = {
        "config": "three-rows",
        "train.device": "cuda",
        "train.steps": 2,
        "compare.drift": False,
    }
    tables = {"job": "run", "base": base, "grid": {"train.seed": [0, 1]}}
    found = compare.sweep(tables, out=tmp_path / "swept", jobs=1)

    assert found.agrees
    assert found.counts == {"agree": 2}


@pytest.mark.cuda
def test_a_number_is_explained_on_a_gpu() -> None:
    told = compare.explain("three-rows", step=0, node="0", quantity="grad:weight", device="cuda")

    assert told.worked.holds


@pytest.mark.cuda
def test_draws_of_a_gpu_are_recorded_and_its_generator_left_as_it_was() -> None:
    torch.cuda.manual_seed_all(3)
    before = torch.cuda.get_rng_state()
    report = compare.run("wine", steps=3, device="cuda", drift=False)

    assert report.verdict == "agree", report
    assert torch.equal(before, torch.cuda.get_rng_state())


@pytest.mark.cuda
@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_a_layer_that_torch_computes_on_both_sides_is_on_the_gpu(device: str) -> None:
    report = compare.run("digits", steps=2, device=device, drift=False, torch_layers=["2"])

    assert report.verdict == "agree", report


@pytest.mark.cuda
def test_a_model_on_a_gpu_is_not_mirrored_and_its_inputs_are_brought_over() -> None:
    with pytest.raises(compare.UserError, match=r"is on cuda; .* Mirror module\.cpu\(\)"):
        compare.mirror(nn.Linear(3, 2).cuda(), torch.ones(2, 3).cuda())

    assert compare.mirror(nn.Linear(3, 2), torch.ones(2, 3).cuda()).verdict == "agree"


# ── without one ──────────────────────────────────────────────────────────────────────────────────
@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is there")
def test_a_gpu_that_is_not_there_is_a_users_mistake() -> None:
    with pytest.raises(compare.UserError, match="no CUDA device"):
        compare.run("digits", steps=1, device="cuda")
    with pytest.raises(compare.UserError, match="device 'cuda' cannot be used here"):
        compare.check_torch(torch.tanh, torch.tanh, {"x": (2, 3)}, device="cuda")


def test_a_model_that_is_not_on_the_cpu_is_not_mirrored() -> None:
    with pytest.raises(compare.UserError, match=r"is on meta; .* Mirror module\.cpu\(\)"):
        compare.mirror(nn.Linear(3, 2, device="meta"), torch.ones(2, 3))


def settings() -> tuple[Any, ...]:
    cuda, cudnn = torch.backends.cuda, torch.backends.cudnn
    return (
        cuda.matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark,
        cuda.flash_sdp_enabled(), cuda.mem_efficient_sdp_enabled(), cuda.cudnn_sdp_enabled(),
        cuda.math_sdp_enabled(), torch.are_deterministic_algorithms_enabled(),
        os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
    )  # fmt: skip


def test_settings_of_a_gpu_are_exact_for_a_run_and_the_users_again_after() -> None:
    torch.backends.cuda.matmul.allow_tf32 = True
    before = settings()
    try:
        with reproducible("cuda:1"):
            during = settings()
        after = settings()
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False

    assert during == (False, False, True, False, False, False, False, True, True, ":4096:8")
    assert after == before


def test_tf32_that_was_asked_for_by_its_newer_name_is_put_back() -> None:
    matmul = torch.backends.cuda.matmul
    if not hasattr(matmul, "fp32_precision"):
        pytest.skip("this torch has one name of it")
    kept = matmul.fp32_precision
    try:
        matmul.fp32_precision = "tf32"
        with reproducible("cuda"):
            during = matmul.fp32_precision
        after = matmul.fp32_precision
    finally:
        matmul.fp32_precision = kept

    assert (during, after) == ("ieee", "tf32")


def test_nothing_is_set_for_the_cpu() -> None:
    before = settings()
    with reproducible("cpu"):
        during = settings()
    compare.run("three-rows", steps=1, drift=False)

    assert during == before == settings()


def test_kernels_that_are_not_deterministic_are_noted_and_other_warnings_go_on() -> None:
    text = "cumsum_cuda_kernel does not have a deterministic implementation, but you set …"
    with reproducible("cuda") as found:
        warnings.warn(text, stacklevel=1)
        warnings.warn(text, stacklevel=1)
        with pytest.warns(UserWarning, match="something else"):
            warnings.warn("something else", stacklevel=1)

    assert found == ["cumsum_cuda_kernel"]


def test_cudnns_own_draws_are_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "dropping.toml"
    path.write_text(DROPPING)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(nn.Module, "to", lambda self, *_, **__: self)  # there is no GPU to move to

    with pytest.raises(compare.UserError, match=r"'lstm' \(LSTM\) draws its dropout .* cuDNN"):
        compare.run(path, device="cuda")


@pytest.mark.parametrize(
    ("module", "device"),
    [
        (nn.LSTM(2, 3, num_layers=2, dropout=0.5), "cpu"),
        (nn.LSTM(2, 3, num_layers=2, dropout=0.5).eval(), "cuda"),
        (nn.LSTM(2, 3, num_layers=2), "cuda:0"),
        (nn.Dropout(0.5), "cuda"),
    ],
)
def test_what_draws_nothing_in_cudnn_is_not_refused(module: nn.Module, device: str) -> None:
    refuse_hidden_draws(module, device)


@pytest.mark.parametrize("mode", [Recorder, lambda: Replay([])])
@pytest.mark.parametrize(("p", "train"), [(0.25, True), (0.0, True), (0.25, False)])
def test_a_draw_inside_a_gpus_kernel_is_seen_to_be_one(mode: Any, p: float, train: bool) -> None:
    """cuDNN's LSTM on the meta device, where shapes are all there is."""
    lstm = nn.LSTM(2, 3, num_layers=2, device="meta")
    x, h = (torch.empty(shape, device="meta") for shape in ((4, 1, 2), (2, 1, 3)))
    arguments: tuple[Any, ...] = (
        x, [*lstm.parameters()], 4, None, h, h, 2, 3, 0, 2, False, p, train, False, [], None,
    )  # fmt: skip

    with mode():
        if p and train:
            with pytest.raises(NotRecordableError, match=r"p = 0\.25.* cannot be recorded"):
                torch.ops.aten._cudnn_rnn(*arguments)
        else:
            torch.ops.aten._cudnn_rnn(*arguments)


def test_fused_dropout_is_recorded_and_replayed_as_a_gpu_does_it() -> None:
    x = torch.arange(1.0, 9.0, dtype=torch.float64).requires_grad_()
    with Recorder() as recorder:
        first, mask = torch.ops.aten.native_dropout(x, 0.25, True)
    with Replay([~recorder.draws[0]]):
        other, flipped = torch.ops.aten.native_dropout(x, 0.25, True)
    other.sum().backward()

    assert torch.equal(recorder.draws[0], mask)
    assert torch.equal(flipped, ~mask)
    torch.testing.assert_close(first + other, x.detach() / 0.75)
    torch.testing.assert_close(x.grad, flipped / 0.75, check_dtype=False)


def test_a_run_on_the_cpu_takes_no_gpu() -> None:
    assert devices_that_draw() == list(range(torch.cuda.device_count())) * (
        torch.cuda.is_initialized()
    )
