"""`handgrad check` of packages, modules, and classes with arguments."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from compare.errors import UserError

PACKAGE = {
    "mine/__init__.py": "",
    "mine/tools.py": "import numpy as np\n\ndef sigmoid(x):\n    return 1 / (1 + np.exp(-x))\n",
    "mine/deep/layers.py": """from ..tools import sigmoid
from .numbers import ONE

def silu_forward(x):
    return x * sigmoid(x), x

def silu_backward(dout, x):
    from mine.tools import sigmoid as late
    return dout * late(x) * (ONE + x * (ONE - late(x)))

class Dense:
    def __init__(self, i, o=5, scale=1.0):
        import numpy as np
        self.W, self.scale = np.ones((i, o)), scale

    def forward(self, x):
        self.x = x
        return self.scale * (x @ self.W)

    def backward(self, dout):
        self.dW = self.scale * self.x.T @ dout
        return self.scale * dout @ self.W.T
""",
    "mine/deep/numbers.py": "ONE = 1\n",
}
SILU = "silu_forward,silu_backward"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A package with relative imports, in part without `__init__.py`; left no trace of."""
    for name, text in PACKAGE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    for name in [n for n in sys.modules if n == "mine" or n.startswith("mine.")]:
        del sys.modules[name]


@pytest.mark.parametrize("where", ["mine/deep/layers.py", "mine.deep.layers"])
@pytest.mark.parametrize("reference", ["torch.nn.functional:silu", "torch.nn:SiLU"])
def test_packages_and_modules_by_dotted_names(call, package, where: str, reference: str) -> None:
    status, out = call(f"{where}:{SILU}", "--reference", reference, "--shape", "x=4,3")

    assert status == 0
    assert "differentiated by torch" in out


@pytest.mark.parametrize(
    "given", [["Dense(3, scale=2.0)"], ["Dense", "--init", "i=3", "--init", "scale=2.0"]]
)
def test_a_class_is_made_with_arguments(call, package, given: list[str]) -> None:
    name, *init = given
    status, _ = call(
        f"mine/deep/layers.py:{name}", *init, "--shape", "x=4,3", "--shape", "W=3,5",
        "--upstream", json.dumps([[1, 2, 3, 4, 5]] * 4),
    )  # fmt: skip
    config = json.loads(Path("reports/Dense/verdict.json").read_text())["config"]["check"]

    assert status == 0
    assert config["upstream"] == "given"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("mine.deep.layer:f", "There is no module mine.deep.layer, neither installed nor in"),
        ("mine.deep.layers:Dens", "mine.deep.layers has no 'Dens'. Did you mean 'Dense'"),
        ("mine/deep/layers.py:Dense", "Dense cannot be made without arguments"),
        ("mine/deep/layers.py:Dense(i=x)", "with plain numbers and texts"),
        ("mine/deep/layers.py:Dense(4, o=2, z=1)", r"cannot be made with Dense\(4, o=2, z=1\)"),
    ],
)
def test_names_that_lead_nowhere_are_told(call, package, target: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        call(target, "--shape", "x=4,3")
