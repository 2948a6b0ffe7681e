"""handgrad mirror: what cannot be used ends in a sentence, never in a verdict."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from compare.errors import UserError
from handgrad.cli import app

MODELS = """
import sys
import torch
from torch import nn

class Net(nn.Linear):
    def __init__(self): super().__init__(3, 2)

class Two(Net):
    def forward(self, x, y): return super().forward(x) + y

class Table(nn.Embedding):
    def __init__(self): super().__init__(7, 3)

class Stops(Net):
    def forward(self, x): sys.exit(0)

def stops(): sys.exit(0)
def four(): return Net(), (torch.ones(2, 3),), {}, 4
def unnamed(): return Net(), (torch.ones(2, 3),), 5
def squared(output, target): return (output - target).square().mean()
number = 5
"""
SIZES = "--input takes a shape"
LOST = "Net -i 2,3 --loss"
BAD = {
    "Stops -i 2,3": "The model stops the program .*status 0.*nothing was compared",
    "stops": "stops the program",
    "four": r"received \(Net, tuple, dict, int\)",
    "unnamed": "kwargs as a dictionary",
    "number": "of type int",
    "Net": "missing a required argument",
    "Net -i 2,4": "cannot be multiplied",
    "Net -i 0,3": "have no elements",
    "Net -i abc": SIZES,
    "Net -i -1,3": SIZES,
    "Net -i 2,,3": SIZES,
    "Table -i 2,3:0": SIZES,
    "Table -i 2,3:9": "out of range",
    f"Table -i 2,3:{10**20}": "no such tensor",
    f"Net -i {10**30},3": "no such tensor",
    f"Net -i {10**11},{10**11}": "no such tensor",
    "Net -i 100000,100000,100000": "no such tensor",
    "Net -i none.npy": "none.npy: cannot be read: FileNotFoundError",
    "Net -i words.npy": "cannot be read: TypeError",
    "Net -i junk.pt": "cannot be read",
    "Net -i dict.pt": "must be Tensor, not dict",
    "Two -i 2,3 -i y=2,2 -i y=2,2": "name is given twice",
    f"{LOST} MSELoss": "needs what it compares with",
    f"{LOST} MSELoss --target abc": "--target takes a shape",
    f"{LOST} MSELoss --target dict.pt": "takes a tensor, received dict",
    f"{LOST} MSELos --target 2,2": "Did you mean 'MSELoss'",
    f"{LOST} AdaptiveLogSoftmaxWithLoss --target 2:2": "FILE.py:FUNCTION",
    f"{LOST} models.py:number": "must be a function",
    f"{LOST} models.py:squared": "missing 1 required positional argument",
    f"{LOST} models.py:stops --target 2,2": "takes 0 positional arguments",
    "Net -i 2,3 --target 2,2": "name one",
    "Net -i 2,3 --optimizer SGD:abc": "could not convert",
    "Net -i 2,3 --optimizer SGD:nan": "lr must be a number of at least 0, received nan",
    "Net -i 2,3 --optimizer LBFGS": "several times a step",
    "Net -i 2,3 --dtype float16": "Did you mean",
    f"Net -i 2,3 --seed {10**25}": r"below 2\*\*63",
    "Net -i 2,3 --seed -1": "whole number from 0 on",
}


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("models.py").write_text(MODELS)
    Path("junk.pt").write_text("hi")
    np.save("words.npy", np.array(["a"]))
    torch.save({"a": torch.ones(2)}, "dict.pt")


def called(line: str) -> Result:
    arguments = f"mirror models.py:{line} --no-report -q".split()
    return CliRunner().invoke(app, arguments)


@pytest.mark.parametrize("line", BAD)
def test_what_cannot_be_used_is_refused_in_a_sentence(line: str, models: None) -> None:
    refused = called(line).exception

    assert isinstance(refused, UserError), refused
    with pytest.raises(UserError, match=BAD[line]):
        raise refused


@pytest.mark.parametrize("line", ["Net -i 2,3", "Two -i 2,3 -i y=2,2", "Table -i 2,3:7"])
def test_what_can_be_used_exits_with_0(line: str, models: None) -> None:
    assert called(line).exit_code == 0
