"""EmbeddingBag beside torch's; rows that are too long, which torch cuts in place; refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from manual.embedding import Embedding, EmbeddingBag
from manual.graph import Graph, Node
from torch_ref import as_torch
from torch_ref.classes import module_class

SIZE = {"num_embeddings": 5, "embedding_dim": 3}
FLAT, OFFSETS = np.array([3, 1, 0, 3, 2, 1]), np.array([0, 2, 2, 5])
ROWS = FLAT.reshape(2, 3)
SHARES = np.random.default_rng(1).standard_normal(6)


def filled(cls: type, options: dict[str, Any], scale: float = 1.0) -> Any:
    weight = scale * np.random.default_rng(0).standard_normal((5, 3))
    return cls(**SIZE, **options).with_params({"weight": weight})


def results(module: Any, inputs: list[Any]) -> dict[str, np.ndarray]:
    """Return output, gradients, and the table after the pass."""
    leaves = [
        None if x is None else torch.tensor(x, requires_grad=x.dtype == float) for x in inputs
    ]
    y = module(*leaves)
    torch.manual_seed(0)
    y.backward(torch.randn_like(y))
    grad = module.weight.grad
    found = {"output": y, "grad": grad.to_dense(), "after": module.weight}
    found |= {
        f"input {i}": x.grad for i, x in enumerate(leaves) if x is not None and x.grad is not None
    }
    return {k: v.detach().numpy().copy() for k, v in found.items()}


def both(layer: Any, options: dict[str, Any], inputs: list[Any]) -> tuple[dict, dict]:
    twin = module_class(type(layer).__name__)(**SIZE, **options).double()
    twin.load_state_dict({"weight": torch.tensor(layer.params["weight"])})
    return results(as_torch(layer), inputs), results(twin, inputs)


CASES: list[tuple[type, dict[str, Any], list[Any]]] = [
    (EmbeddingBag, {"mode": mode, **options}, inputs)  # type: ignore[dict-item, misc]
    for mode, options, inputs in [
        ("sum", {"max_norm": 0.5, "norm_type": 1, "padding_idx": 3}, [FLAT, OFFSETS, SHARES]),
        ("sum", {"sparse": True, "padding_idx": -2}, [ROWS, None, SHARES.reshape(2, 3)]),
        ("mean", {"include_last_offset": True}, [FLAT, np.array([0, 2, 2, 6])]),
        ("mean", {"scale_grad_by_freq": True, "padding_idx": 1, "max_norm": 1}, [FLAT, OFFSETS]),
        ("max", {"padding_idx": 3, "max_norm": 1.0}, [FLAT, OFFSETS]),
        ("max", {}, [np.zeros((0, 2), int)]),
        ("mean", {"padding_idx": 3}, [np.full((2, 1), 3)]),
    ]
]
CASES += [
    (Embedding, {"max_norm": 1.0, "norm_type": p, "padding_idx": 3}, [ROWS])
    for p in (0, 0.5, 2, -1, np.inf)
]


@pytest.mark.parametrize(("cls", "options", "inputs"), CASES)
def test_outputs_gradients_and_the_table_afterwards_are_torchs(
    cls: type, options: dict[str, Any], inputs: list[Any]
) -> None:
    mine, theirs = both(filled(cls, options), options, inputs)

    assert mine.keys() == theirs.keys()
    for key, value in theirs.items():
        np.testing.assert_allclose(mine[key], value, rtol=1e-12, atol=1e-14, err_msg=key)


class ReadsTheOldTable(Embedding):
    def _rescaled(self, index: Any) -> Any:
        return self.params["weight"], super()._rescaled(index)[1]


class TakesTheLast(EmbeddingBag):
    def forward(self, *inputs: Any) -> Any:
        y, cache = super().forward(*inputs)
        return y, cache._replace(winner=cache.winner[:, ::-1])  # type: ignore[index]


@pytest.mark.parametrize(
    ("cls", "options"), [(ReadsTheOldTable, {"max_norm": 1.0}), (TakesTheLast, {"mode": "max"})]
)
def test_planted_mistakes_are_noticed(cls: Any, options: dict[str, Any]) -> None:
    right = cls.__mro__[1]
    mine, theirs = (
        results(as_torch(filled(cls, options)), [ROWS]),
        both(filled(right, options), options, [ROWS])[1],
    )

    assert any(not np.allclose(mine[k], theirs[k]) for k in theirs)


def test_of_equal_rows_the_first_wins_and_nan_only_where_it_comes_first() -> None:
    weight = np.array([[1.0, 2], [1, 3], [1, 3], [np.nan, 0]])
    bags = np.array([[1, 2, 0], [2, 1, 0], [1, 3, 0], [3, 1, 0]])
    ours = EmbeddingBag(4, 2, mode="max").with_params({"weight": weight})
    theirs = torch.nn.EmbeddingBag(4, 2, mode="max", _weight=torch.tensor(weight))
    y = theirs(torch.tensor(bags))
    y.sum().backward()
    mine, cache = ours.forward(bags)

    np.testing.assert_array_equal(mine, y.detach().numpy())
    grad = ours.backward(np.ones_like(mine), cache)[1]["weight"]
    np.testing.assert_array_equal(grad, theirs.weight.grad.numpy())  # type: ignore[union-attr]


def test_a_graph_tells_which_parameters_a_pass_rewrote_and_changes_none() -> None:
    layer = filled(Embedding, {"max_norm": 0.5}, 3.0)
    graph = Graph([Node("wte", layer, ("input",))])
    before = layer.params["weight"].copy()
    new = graph.rewritten(graph.run(ROWS))

    assert graph.rewrites == ("wte.weight",)
    np.testing.assert_array_equal(layer.params["weight"], before)
    norms = np.linalg.norm(new["wte.weight"], axis=1)
    assert (norms[:4] < 0.5).all()
    assert norms[4] > 0.5  # it was not looked up


REFUSED = [
    ({"mode": "min"}, [ROWS], "mode must be one of sum, mean, max, received 'min'"),
    ({"mode": "max", "sparse": True}, [ROWS], "mode='max' has no sparse"),
    ({"mode": "max", "scale_grad_by_freq": True}, [ROWS], "mode='max' has no scale_grad_by_freq"),
    ({"padding_idx": 5}, [ROWS], "padding_idx must be one of the 5 rows"),
    ({}, [ROWS, OFFSETS], r"received \(2, 3\) and offsets \(4,\)"),
    ({}, [FLAT], "offsets None"),
    ({}, [ROWS[:, :0]], "N not 0"),
    ({}, [ROWS, None, SHARES.reshape(2, 3)], "belong to mode='sum'.*received.*mode='mean'"),
    ({"mode": "sum"}, [ROWS, None, SHARES], "have the input's shape"),
    ({}, [FLAT, OFFSETS + 1], "must begin with 0"),
    ({}, [FLAT, OFFSETS[::-1] * 1], "must begin with 0"),
    ({}, [FLAT, np.array([0, 3, 2])], "not fall"),
    ({}, [FLAT, np.array([0, 7])], "not pass the input's length 6"),
    ({"include_last_offset": True}, [FLAT, OFFSETS], "end with the input's length 6"),
    ({}, [FLAT, OFFSETS * 1.0], "offsets must hold signed integers, received float64"),
    ({}, [FLAT * 1.0, OFFSETS], "the input must hold signed integers"),
    ({}, [FLAT + 2, OFFSETS], "rows 0 to 4, received 5"),
]


@pytest.mark.parametrize(("options", "inputs", "message"), REFUSED)
def test_what_does_not_fit_is_refused_in_a_sentence(
    options: dict[str, Any], inputs: list[Any], message: str
) -> None:
    with pytest.raises((ValueError, TypeError, IndexError), match=f"EmbeddingBag: .*{message}"):
        EmbeddingBag(**SIZE, **options).forward(*inputs)
