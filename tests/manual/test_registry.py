"""The registry finds classes by itself; constructors refuse arguments by name."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import manual
from manual import registry

ROOT = Path(__file__).parents[2]
NEW = '''
"""A layer that nobody has listed."""
from manual.layer import Layer

__all__ = ["Draft", "Shout"]
{group}

class Draft(Layer):
    """Abstract: it has no backward."""

    def forward(self, x):
        return x, None


class Shout(Draft):
    """Twice x."""

    def forward(self, x):
        return 2 * x, None

    def backward(self, grad_output, cache):
        return (2 * grad_output,), {{}}


class Hidden(Shout):
    """Not in __all__."""
'''


GROUPS = {
    "LAYERS": "",
    "ACTIVATIONS": 'GROUP = "activation"',
    "GATES": 'GROUP = "gate"',
    "PENALTIES": 'GROUP = "penalty"',
}
FOUND = """
import manual
from manual import registry

for table, name in {"LAYERS": "Shout0", "ACTIVATIONS": "Shout1",
                    "GATES": "Shout2", "PENALTIES": "Shout3"}.items():
    assert getattr(manual, name) is getattr(registry, table)[name]
    others = [t for t in ("LAYERS", "GATES", "PENALTIES") if t != table]
    if table == "ACTIVATIONS":
        others.remove("LAYERS")
    assert not any(name in getattr(registry, t) for t in others), name
    assert not {f"Draft{name[-1]}", f"Hidden{name[-1]}"} & set(registry.LAYERS)
    assert not hasattr(manual, f"Hidden{name[-1]}")
"""


def test_a_new_file_is_found_without_a_line_elsewhere(tmp_path: Path) -> None:
    """A copy of the package with one more file for each group, in a new folder."""
    import shutil

    shutil.copytree(ROOT / "manual", tmp_path / "manual")
    (tmp_path / "manual" / "loud").mkdir()
    (tmp_path / "manual" / "loud" / "__init__.py").write_text("")
    for n, group in enumerate(GROUPS.values()):
        text = re.sub(r"\b(Draft|Shout|Hidden)\b", rf"\g<1>{n}", NEW.format(group=group))
        (tmp_path / "manual" / "loud" / f"shout{n}.py").write_text(text)
    subprocess.run([sys.executable, "-c", FOUND], cwd=tmp_path, check=True, timeout=60)


def test_every_group_holds_what_it_held() -> None:
    assert {"ReLU", "Softmax", "GELU"} <= registry.ACTIVATIONS.keys() <= registry.LAYERS.keys()
    assert {"Linear", "Dropout", "Maxout", "Add"} <= registry.LAYERS.keys()
    assert "Linear" not in registry.ACTIVATIONS
    assert {"AddGate", "MaxGate"} <= registry.GATES.keys()
    assert registry.PENALTIES.keys() == {"L1Penalty", "L2Penalty"}
    assert {"MSELoss", "CrossEntropyLoss"} <= registry.LOSSES.keys()
    assert {"SGD", "Adam"} <= registry.OPTIMIZERS.keys()
    assert {"Constant", "Cosine", "Step"} <= registry.SCHEDULES.keys()
    assert not {"Graph", "Sequential", "Loss", "Optimizer"} & {
        name for table in (registry.LAYERS, registry.LOSSES, registry.OPTIMIZERS) for name in table
    }


def test_a_name_that_is_none_is_refused_as_python_does() -> None:
    with pytest.raises(AttributeError, match="module 'manual' has no attribute 'Linaer'"):
        _ = manual.Linaer


def test_importing_manual_does_not_search_the_package() -> None:
    code = "import manual, sys; assert 'manual.registry' not in sys.modules; manual.Linear(3, 2)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=60)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: manual.Linear(3, 2, biass=True), "Linear has no argument 'biass'. Nearest: bias."),
        (lambda: manual.Linear(3, 2, device="cpu"), "'device', which is torch's alone: .*the CPU"),
        (lambda: manual.Linear((3,), 2), r"Linear: in_features must be a whole .* received \(3,\)"),
        (lambda: manual.Linear(3, out_features=2.0), "out_features must be a whole number"),
        (lambda: manual.LayerNorm(3, eps="1"), "LayerNorm: eps must be a number, received '1'"),
        (lambda: manual.LSTM(3, None), "LSTM: hidden_size must be a whole number, received None"),
        (lambda: manual.LBFGS(max_eval="2"), "LBFGS: max_eval must be a whole number"),
        (lambda: manual.SGD(0.1, foreach=True), "'foreach', which is torch's alone: .* same rule"),
        (lambda: manual.Linear(3, 2, dtype=None), "'dtype', which is torch's alone: .*with_params"),
        (lambda: manual.Tanh(inplace=True), "Tanh has no argument 'inplace'; it takes none"),
        (lambda: manual.Tanh(3), "Tanh takes no arguments, received 1"),
        (lambda: manual.MSELoss(size_average=True), "'size_average'. It takes: reduction"),
        (lambda: manual.SGD(learning_rate=0.1), "SGD has no argument 'learning_rate'. "),
        (lambda: manual.Step(stepsize=3), "Step has no argument 'stepsize'. Nearest: step_size"),
    ],
)
def test_an_unknown_argument_is_refused_with_the_nearest(make: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        make()


@pytest.mark.parametrize("wrong", [1.5, "1", (1, 1.5), (2, None)])
@pytest.mark.parametrize(
    ("name", "arguments", "argument"),
    [
        ("Conv2d", (1, 1, 2), "stride"),
        ("ConvTranspose2d", (1, 1), "kernel_size"),
        ("Unfold", (2,), "padding"),
        ("ZeroPad1d", (), "padding"),
        ("AdaptiveAvgPool3d", (), "output_size"),
        ("LayerNorm", (), "normalized_shape"),
        ("RMSNorm", (), "normalized_shape"),
    ],
)
def test_a_size_that_is_not_whole_is_refused_by_name(
    name: str, arguments: tuple, argument: str, wrong: Any
) -> None:
    with pytest.raises(
        ValueError, match=rf"^{name}: {argument} must .*received {re.escape(repr(wrong))}"
    ):
        getattr(manual, name)(*arguments, **{argument: wrong})


def test_a_class_still_shows_its_constructors_signature() -> None:
    assert list(inspect.signature(manual.Linear).parameters) == [
        "in_features", "out_features", "bias"]  # fmt: skip
    assert not inspect.signature(manual.Tanh).parameters
    assert "lr" in inspect.signature(manual.SGD).parameters
    assert "lr" in repr(manual.SGD())


def test_a_layer_of_ones_own_may_take_anything() -> None:
    class Own(manual.Linear):
        def __init__(self, **settings: Any) -> None:
            super().__init__(settings.pop("rows"), 2)
            self.settings = settings

    assert Own(rows=3, colour="red").settings == {"colour": "red"}
