"""What the tests of sweeps sweep."""

from __future__ import annotations

RUN = {"base": {"config": "three-rows", "train.steps": 1}}
TWO = RUN | {"name": "two", "grid": {"train.seed": [0, 1]}}
CUBE = """
def forward(x, power=3):
    return x**power, (x, power)

def backward(dy, cache):
    x, power = cache
    return dy * (3 if power < 4 else 5) * x ** (power - 1)
"""
