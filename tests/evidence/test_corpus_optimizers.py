"""Torch's configurations of its optimisers agree, but for the written exceptions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import torch

pytest.importorskip("expecttest", reason="torch's tables need it")

from evidence.corpus import optimizers
from evidence.corpus.count import rows
from evidence.corpus.optimizers import configurations, implementations, judged
from manual import registry

pytestmark = pytest.mark.filterwarnings("ignore")
OTHER: dict[str, dict[str, Any]] = {  # one setting of each that the hand-written rule gets wrong
    "Adadelta": {"eps": 1e-5},
    "Adafactor": {"beta2_decay": -0.75},
    "Adagrad": {"lr_decay": 1e-3},
    "Adam": {"betas": (0.9, 0.998)},
    "AdamW": {"weight_decay": 0.02},
    "Adamax": {"betas": (0.9, 0.99)},
    "ASGD": {"lambd": 1e-3},
    "LBFGS": {"history_size": 2},
    "Muon": {"momentum": 0.5},
    "NAdam": {"momentum_decay": 0.005},
    "RAdam": {"eps": 1e-6},
    "RMSprop": {"alpha": 0.98},
    "Rprop": {"etas": (0.5, 1.25)},
    "SGD": {"maximize": True},
    "SparseAdam": {"eps": 1e-7},
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_every_configuration_agrees_or_is_excepted_in_writing() -> None:
    found = [row for name in registry.OPTIMIZERS for row in rows(name)]

    assert Counter(row.status for row in found) == {"agree": 90, "excepted": 1}
    assert {row.corpus for row in found} == {"optim_db"}
    assert {row.module for row in found} == set(registry.OPTIMIZERS)


def test_torchs_other_implementations_agree_but_where_they_compute_in_float32() -> None:
    found = list(implementations(torch.float64))

    assert Counter(row["status"] for row in found) == {"agree": 147, "excepted": 24}
    assert {
        (r["sample"].split(", ")[-2], r["module"]) for r in found if r["status"] != "agree"
    } == {*optimizers.DIFFERENT}


@pytest.mark.parametrize("name", sorted(registry.OPTIMIZERS))
def test_a_rule_with_another_setting_disagrees(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cls = registry.OPTIMIZERS[name]
    monkeypatch.setitem(registry.OPTIMIZERS, name, lambda **args: cls(**{**args, **OTHER[name]}))
    first = next(one for one in configurations() if one.module == name)

    assert "of its budget" in judged(first, torch.float64)
