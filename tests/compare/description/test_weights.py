"""Initial weights: read safely, checked key for key, shared exactly."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

import compare
from compare.description.weights import read
from compare.errors import UserError

SHAPES = {"0.weight": (2, 3), "0.bias": (2,)}


def weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {k: rng.standard_normal(s).astype(np.float32) for k, s in SHAPES.items()}


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_both_formats_are_read_exactly(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pt":
        torch.save({k: torch.tensor(v) for k, v in weights().items()}, path)
    else:
        save_file(weights(), path)
    found = read(path, SHAPES)

    assert list(found) == list(SHAPES)
    for name, array in weights().items():
        assert found[name].dtype == np.float64
        assert (found[name] == array).all()


def test_parameters_and_sparse_tensors_are_read_as_their_values(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    given = {k: torch.tensor(v) for k, v in weights().items()}
    given["0.weight"][0] = 0.0
    torch.save(
        {
            "0.weight": given["0.weight"].to_sparse(),
            "0.bias": torch.nn.Parameter(given["0.bias"]),
        },
        path,
    )

    found = read(path, SHAPES)

    for name, tensor in given.items():
        np.testing.assert_array_equal(found[name], tensor.numpy())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("0.bias"), r"'0.bias' is missing"),
        (lambda w: w.update({"0.biass": np.ones(2)}), r"'0.biass' belongs to no layer.*'0.bias'"),
        (lambda w: w.update({"0.weight": w["0.weight"].T.copy()}), r"shape \(3, 2\).*\(2, 3\)"),
        (lambda w: w.update({"0.bias": np.ones(2, dtype=np.int64)}), "int64"),
        (lambda w: w.update({"0.bias": np.array([1.0, np.nan])}), "NaN"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path: Path, change, message: str) -> None:
    tensors = dict(weights())
    change(tensors)
    save_file(tensors, tmp_path / "w.safetensors")

    with pytest.raises(UserError, match=message):
        read(tmp_path / "w.safetensors", SHAPES)


class Evil:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("owned"),))


def test_a_pickle_with_code_in_it_is_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"0.weight": Evil()}, "evil.pt")
    Path("raw.pt").write_bytes(pickle.dumps(Evil()))
    for name in ("evil.pt", "raw.pt"):
        with pytest.raises(UserError, match="Only plain tensors"):
            read(Path(name), SHAPES)

    assert not Path("owned").exists()


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
def test_rubbish_and_missing_files_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="No weights file"):
        read(tmp_path / name, SHAPES)
    (tmp_path / name).write_bytes(b"rubbish")
    with pytest.raises(UserError, match=name):
        read(tmp_path / name, SHAPES)


@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        (torch.ones(2, 3).to(torch.float8_e4m3fn), "float8_e4m3fn"),
        (torch.ones(2, 3, device="meta"), "on meta"),
        (torch.ones(2, 3, dtype=torch.complex64).conj(), "complex64"),
        (torch.ones(1).expand(10**6, 10**6), "1,000,000,000,000 elements"),
        (None, "qint8"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_tensors_without_a_plain_form_are_refused(tmp_path: Path, tensor, said: str) -> None:
    if tensor is None:
        tensor = torch.quantize_per_tensor(torch.ones(2, 3), 0.1, 0, torch.qint8)
    torch.save({"0.weight": tensor, "0.bias": torch.ones(2)}, tmp_path / "w.pt")

    with pytest.raises(UserError, match=f"w.pt: '0.weight'.*{said}"):
        read(tmp_path / "w.pt", SHAPES)


def test_a_state_dict_that_is_a_list_is_refused(tmp_path: Path) -> None:
    torch.save([torch.ones(2)], tmp_path / "w.pt")

    with pytest.raises(UserError, match="dictionary of tensors"):
        read(tmp_path / "w.pt", SHAPES)


def test_a_run_started_from_a_saved_reports_weights_repeats_it(tmp_path: Path) -> None:
    first = compare.run("three-rows", steps=3, drift=False)
    save_file(
        {k: v.astype(np.float32) for k, v in first.initial_weights.items()},
        tmp_path / "w.safetensors",
    )
    again = compare.run(
        "three-rows", steps=3, drift=False, seed=7, init__file=str(tmp_path / "w.safetensors"),
        shuffle=False,
    )  # fmt: skip

    assert first.differences.to_csv() == again.differences.to_csv()


def test_both_sides_start_from_copies_of_the_same_weights() -> None:
    from compare.description.config import load
    from compare.running.experiment import prepare
    from compare.running.lockstep import Lockstep

    experiment = prepare(load("digits"))
    runner = Lockstep(experiment)
    for name, array in experiment.weights.items():
        theirs = experiment.torch.params()[name]
        assert (theirs == array).all()
        assert (runner.params[name] == array).all()
        assert not np.shares_memory(theirs, runner.params[name])
        assert not np.shares_memory(theirs, array)
