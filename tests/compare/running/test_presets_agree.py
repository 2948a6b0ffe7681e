"""Every preset runs, on its own data, and both sides agree (several workers: `test_parallel`)."""

from __future__ import annotations

import pytest

import compare
from compare.description.config.file import presets

pytestmark = pytest.mark.usefixtures("verdict_alone")
STEPS = {"alexnet": 3, "alexnet-2012": 3, "resnet": 4, "ntm": 2}  # the others: 12
STEPS |= dict.fromkeys(
    ["adding-lstm", "adding-rnn", "reversal", "temporal-order", "tiny-gpt", "verses-gru",
     "verses-lstm", "verses-rnn"], 2,
)  # fmt: skip
OF_INDICES = ("reversal", "tied-characters", "tiny-gpt", "verses-gru", "verses-lstm", "verses-rnn")
# whose data have no gradient


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", [name for name in presets() if "parallel" not in name])
def test_preset_agrees(name: str, dtype: str) -> None:
    steps = STEPS.get(name, 12)
    report = compare.run(name, dtype=dtype, steps=steps, drift=False)

    assert report.verdict == "agree", report
    assert report.steps == steps
    compared = set(report.differences["quantity"].str.partition(":")[0])
    expected = {"output", "loss", "grad_output", "grad", "grad_input", "param"}
    expected -= {"grad_input"} if name in OF_INDICES else set()
    assert expected <= compared


@pytest.mark.parametrize(
    "name",
    [
        "digits",
        "three-rows",
        "students-2-4-1",
        "svm",
        "digits-cnn",
        "digits-lstm",
        "tied-characters",
    ],
)
def test_preset_agrees_to_its_end(name: str) -> None:
    report = compare.run(name, drift=False)

    assert report.verdict == "agree", report
    assert report.losses["torch"].tail(3).mean() < report.losses["torch"].head(3).mean()
