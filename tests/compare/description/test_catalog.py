"""The catalog: one line for everything there is, without loading anything slow."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import manual
from compare.description.catalog import catalog, suggest
from compare.description.data import DATASETS
from compare.description.presets import presets
from manual import activations, registry, softmax

KINDS = [
    "layers",
    "gates",
    "activations",
    "losses",
    "optimizers",
    "networks",
    "datasets",
    "presets",
]
SLOW = ["torch", "pandas", "sklearn", "pydantic", "scipy", "matplotlib"]
MEASURE = """
import json, sys, time
import numpy
start = time.process_time()
from compare.description.catalog import catalog
entries = catalog()
print(json.dumps({"seconds": time.process_time() - start, "modules": sorted(sys.modules)}))
"""


@pytest.mark.parametrize("kind", KINDS)
def test_every_entry_has_a_name_and_one_line(kind: str) -> None:
    entries = catalog()[kind]

    assert entries
    for entry in entries:
        assert entry.keys() == {"name", "summary"}
        assert entry["name"]
        assert 5 < len(entry["summary"]) < 120
        assert "\n" not in entry["summary"]


def test_the_kinds_are_these_in_this_order() -> None:
    assert list(catalog()) == KINDS


def test_nothing_is_left_out_and_nothing_listed_twice() -> None:
    names = {kind: [entry["name"] for entry in entries] for kind, entries in catalog().items()}

    assert sorted(names["layers"] + names["activations"]) == sorted(
        registry.LAYERS | registry.MASKS
    )
    assert sorted(names["gates"]) == sorted(registry.GATES)
    assert set(names["losses"]) == set(registry.LOSSES)
    assert set(names["optimizers"]) == set(registry.OPTIMIZERS)
    assert set(names["datasets"]) == set(DATASETS)
    assert names["presets"] == presets()


def test_the_catalog_can_be_written_as_json() -> None:
    assert json.loads(json.dumps(catalog())) == catalog()


def test_the_course_is_in_the_registry() -> None:
    assert {"Linear", "Identity", "Flatten", "Dropout", "Maxout", "Add", "Multiply",
            "Concatenate"} <= registry.LAYERS.keys()  # fmt: skip
    assert registry.ACTIVATIONS.keys() == {*activations.__all__, *softmax.__all__}
    assert registry.LOSSES.keys() >= {
        "MSELoss", "SquaredErrorLoss", "L1Loss", "HuberLoss", "BCELoss", "BCEWithLogitsLoss",
        "NLLLoss", "CrossEntropyLoss", "MultiMarginLoss", "MulticlassHingeLoss", "SmoothL1Loss",
        "PoissonNLLLoss", "GaussianNLLLoss", "KLDivLoss", "MarginRankingLoss", "HingeEmbeddingLoss",
        "CosineEmbeddingLoss", "TripletMarginLoss", "MultiLabelMarginLoss", "SoftMarginLoss",
        "MultiLabelSoftMarginLoss", "LinearCrossEntropyLoss",
    }  # fmt: skip
    assert {"SGD", "Adagrad", "RMSprop", "Adam", "AdamW"} <= registry.OPTIMIZERS.keys()
    assert registry.PENALTIES.keys() == {"L1Penalty", "L2Penalty"}
    assert registry.SCHEDULES.keys() == {"Constant", "Step", "Cosine", "Warmup"}


def test_every_registered_class_can_be_imported_from_the_package() -> None:
    tables = (registry.LAYERS, registry.MASKS, registry.LOSSES, registry.OPTIMIZERS,
              registry.PENALTIES, registry.SCHEDULES)  # fmt: skip
    for table in tables:
        for name, cls in table.items():
            assert getattr(manual, name) is cls


def test_torch_has_a_twin_of_every_registered_class() -> None:
    from torch_ref.classes import module_class

    for table in registry.KINDS.values():
        for name in table.keys() - {"ConstantGate"}:
            assert module_class(name).__name__ == name


def test_listing_loads_nothing_slow() -> None:
    runs = [
        json.loads(subprocess.check_output([sys.executable, "-c", MEASURE], text=True))
        for _ in range(3)
    ]

    assert not set(SLOW) & set(runs[0]["modules"])


def test_a_beginning_suggests_the_preset() -> None:
    assert "Did you mean 'digits'" in suggest("dig")
