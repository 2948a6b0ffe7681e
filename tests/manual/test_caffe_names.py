"""The table of docs/caffe-names.md: its classes are there, and compute what Caffe's layers do."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from manual import registry

PAGE = Path(__file__).parents[2] / "docs" / "caffe-names.md"
X = np.array([[-1.5, 0.25, 3.0], [0.5, -0.75, 60.0]])
Y = np.array([[1.0, -2.0, 3.5], [0.25, 4.0, 2.0]])
IMAGES = np.random.default_rng(0).standard_normal((2, 3, 4, 5))
INDEX = np.array([1, 0, 1])
FORMULAS: dict[str, tuple[tuple, Callable[..., Any]]] = {  # inputs, what Caffe computes
    "absval": ((X,), np.abs),
    "batch_reindex": ((X, INDEX), lambda x, i: np.stack([x[k] for k in i])),
    "bnll": ((X,), lambda x: np.where(x > 0, x, 0) + np.log(1 + np.exp(-np.abs(x)))),
    "concat": ((X, Y), lambda x, y: np.hstack([x, y])),
    "contrastive_loss": ((X, Y, np.array([1, 0])), lambda *given: _contrastive(*given)),
    "crop": ((IMAGES, IMAGES[:, :, :2, :3]), lambda x, like: x[:, :, 1:3, 1:4]),
    "cudnn_lrn": ((IMAGES,), lambda x: x / (1 + 1e-4 / 5 * _around(x)) ** 0.75),
    "cudnn_relu": ((X,), lambda x: np.maximum(x, 0)),
    "cudnn_sigmoid": ((X,), lambda x: 1 / (1 + np.exp(-x))),
    "cudnn_softmax": ((X,), lambda x: np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)),
    "cudnn_tanh": ((X,), np.tanh),
    "eltwise (max)": ((X, Y), np.maximum),
    "eltwise (prod)": ((X, Y), np.multiply),
    "eltwise (sum)": ((X, Y), np.add),
    "elu": ((X,), lambda x: np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1)),
    "euclidean_loss": ((X, Y), lambda x, y: ((x - y) ** 2).sum() / (2 * len(x))),
    "exp": ((X,), np.exp),
}


def _contrastive(a: np.ndarray, b: np.ndarray, y: np.ndarray) -> float:
    d = np.sqrt(((a - b) ** 2).sum(axis=1))
    return float((y * d**2 + (1 - y) * np.maximum(5 - d, 0) ** 2).sum() / (2 * len(a)))


def _around(x: np.ndarray) -> np.ndarray:
    """Return the sum of squares of each channel and of the two on either side of it."""
    return np.stack([(x[:, max(c - 2, 0) : c + 3] ** 2).sum(axis=1) for c in range(len(x[0]))], 1)


def rows() -> dict[str, str]:
    """Return what stands in the third column, by the name in the first."""
    text = PAGE.read_text(encoding="utf-8").replace(r"\|", "¦")
    cells = [re.split(r"\s*\|\s*", line.strip("| ")) for line in text.splitlines() if "|" in line]
    return {row[0]: row[2].strip("`") for row in cells[2:]}


ROWS = rows()


def built(call: str) -> Any:
    """Build the class that a row names, with its arguments."""
    node: Any = ast.parse(call if "(" in call else f"{call}()", mode="eval").body
    return registry.find(node.func.id)(**{k.arg: ast.literal_eval(k.value) for k in node.keywords})


def test_every_class_of_the_table_is_there() -> None:
    named = {call.partition("(")[0] for call in ROWS.values()} - {"–"}

    assert len(ROWS) == 30
    assert {name for name in named if registry.find(name) is None} == set()


def test_every_name_of_the_course_has_a_row() -> None:
    course = """absval accuracy argmax batch_norm batch_reindex bias bnll concat
        contrastive_loss conv
        crop cudnn_conv cudnn_lcn cudnn_lrn cudnn_pooling cudnn_relu cudnn_sigmoid cudnn_softmax
        cudnn_tanh data deconv dropout dummy_data eltwise elu embed euclidean_loss exp"""

    assert {name.partition(" ")[0] for name in ROWS} == set(course.split())


@pytest.mark.parametrize("name", FORMULAS)
def test_a_class_computes_what_caffe_does(name: str) -> None:
    inputs, formula = FORMULAS[name]
    y, _ = built(ROWS[name]).forward(*inputs)

    np.testing.assert_allclose(y, formula(*inputs), rtol=1e-14)


def test_bnlls_backward_is_caffes_on_both_sides_of_its_threshold() -> None:
    x = np.array([-60.0, -1.0, 0.0, 2.0, 49.0, 50.0, 51.0, 80.0])
    layer = built(ROWS["bnll"])
    held = np.exp(np.minimum(x, 50))  # kBNLL_THRESHOLD
    (dx,), _ = layer.backward(np.ones_like(x), layer.forward(x)[1])

    np.testing.assert_allclose(dx, held / (held + 1), rtol=1e-14)


@pytest.mark.parametrize("call", ["Softplus(beta=2.0)", "Softplus(threshold=2.0)"])
def test_a_row_that_names_another_function_is_rejected(call: str) -> None:
    inputs, formula = FORMULAS["bnll"]

    with pytest.raises(AssertionError):
        np.testing.assert_allclose(built(call).forward(*inputs)[0], formula(*inputs), rtol=1e-14)
