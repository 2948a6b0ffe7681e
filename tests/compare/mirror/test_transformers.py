"""The public `transformers` library, where it is installed: every architecture of the table."""

from __future__ import annotations

import pytest

import compare
from tests.compare.mirror.public import TABLE

pytest.importorskip("transformers", reason="the models extra is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
MODES = pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])


@MODES
@pytest.mark.parametrize("name", TABLE)
def test_a_public_model_agrees_with_its_twin(name: str, training: bool) -> None:
    example = TABLE[name].example(training)
    report = compare.mirror(example.module, example.args, example.kwargs)

    assert report.verdict == "agree", str(report)
    assert report.coverage["gradients"] > 0.4  # a batch norm of two numbers has none to compare
