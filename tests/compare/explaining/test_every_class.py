"""Every registered class: its formulas exist, convert, and give the run's own numbers."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from compare.description.config import Config
from compare.explaining import equations
from compare.explaining.equations import chosen, read, symbols
from compare.explaining.language import names, parse
from compare.explaining.rows import worked_rows
from compare.explaining.worked import Worked
from compare.pair.example import argument_names
from compare.running.experiment import prepare
from compare.running.lockstep import Lockstep
from manual import registry
from manual.composed import Composed
from manual.examples import Draw, Example
from tests.compare.explaining.test_several_outputs import PORTS, WITHOUT

OWNERS: dict[str, Any] = {
    **registry.LAYERS, **registry.LOSSES, **registry.PENALTIES, **registry.OPTIMIZERS,
}  # fmt: skip
ALL = [(owner, key) for owner, cls in OWNERS.items() for key in cls.equations]


@pytest.mark.parametrize("name", sorted(set(OWNERS) - set(registry.OPTIMIZERS)))
def test_every_class_has_a_formula_for_each_of_its_quantities(name: str) -> None:
    """Of its output, and of every gradient that backward returns, but for those named above.

    What a composed layer computes is said by the layers within.
    """
    if issubclass(OWNERS[name], Composed):
        return
    missing = set()
    for example in OWNERS[name].examples:
        layer = OWNERS[name](**example.arguments)
        roles = {key.partition("/")[0] for key in layer.equations}
        names = argument_names(layer, len(example.inputs))
        own = any(f"grad_{name}" in roles for name in names)  # each input has its own
        inputs = set() if own else {"grad_input"}
        missing |= {"output", *inputs, *(f"grad:{p}" for p in layer.params)} - roles

    assert missing == WITHOUT.get(name, set())


@pytest.mark.parametrize("name", sorted(registry.OPTIMIZERS))
def test_every_optimiser_has_a_formula_for_each_entry_of_its_state(name: str) -> None:
    cls = OWNERS[name]
    given = [np.ones((2, 2))] if cls.matrices_only else [np.ones(1), np.ones((2, 2))]
    for settings in () if cls.needs else cls.examples:
        for one in given:
            state = cls(**settings).update(one, one, {}, 0.1)[1]

            roles = {key.partition("/")[0] for key in cls.equations}
            assert {"param", *(f"state:{key}" for key in state)} <= roles


@pytest.mark.parametrize(("owner", "key"), ALL)
def test_every_formula_converts_and_prints(owner: str, key: str) -> None:
    formula = read(OWNERS[owner].equations[key])
    printed = formula.plain()

    assert len(printed) == len(formula.latex()) == len(formula.where) + 1
    for line in formula.mathml():
        assert line.startswith("<math")
        assert "\\" not in line
    assert all("  " not in line and "*" not in line for line in printed)


def test_every_name_that_a_formula_prints_has_a_symbol_or_is_one_letter() -> None:
    texts = [read(OWNERS[owner].equations[key]).sides for owner, key in ALL]
    used = {n for sides in texts for side in sides for t in side for n in names(parse(t))}

    assert {n for n in used if len(n) > 1} <= set(symbols())


def rows_of(steps: int = 1, **changes: Any) -> tuple[Worked, ...]:
    """Run a small network for some steps, and work every row of the last."""
    settings: dict[str, Any] = {
        "data": {"dataset": "random_classification", "n": 12, "d_in": 5, "classes": 3},
        "layers": [
            {"type": "Linear", "in_features": 5, "out_features": 4},
            {"type": "Tanh"},
            {"type": "Linear", "in_features": 4, "out_features": 3},
        ],
        "train": {"steps": 3, "batch_size": 6},
    }
    experiment = prepare(Config.model_validate(settings | changes))
    lockstep = Lockstep(experiment)
    with np.errstate(all="ignore"):
        for number, batch in zip(range(steps), experiment.batches(), strict=False):
            step = lockstep.step(number, batch)
            found = worked_rows(experiment, lockstep, step)
            lockstep.resynchronise()
    return found


def assert_worked(found: tuple[Worked, ...]) -> None:
    """Every row holds by its formula; what is not trained (running means) has none, and says so."""
    buffers = [w for w in found if w.quantity.startswith("buffer:")]
    assert all(f"no formula for '{w.quantity}'" in w.problem for w in buffers)
    found = tuple(w for w in found if w not in buffers)
    wrong = [(w.layer, w.quantity, w.finding) for w in found if w.holds is not True]

    assert wrong == []
    assert all(w.formulas and w.arithmetic and w.torch_module for w in found)
    for w in found:
        assert w.listings, w.quantity
        assert any(on for _, _, on in w.listings[0].lines), w.quantity


PLACED = ["BatchNorm2d", "Conv2d", "GLU", "LayerNorm", "MaxPool2d", "Select", "Unflatten"]
WINDOWS = (
    "manual.pool",
    "manual.norm",
    "manual.resampling.grid",
)  # worked on their examples, in tests/manual


def keeps_rows(name: str, arguments: dict[str, Any]) -> bool:
    """Whether a layer takes a batch of rows and returns one of that shape."""
    try:
        return np.shape(OWNERS[name](**arguments).forward(np.zeros((6, 4)))[0]) == (6, 4)
    except (TypeError, ValueError, IndexError):
        return False


def options(name: str) -> list[dict[str, Any]]:
    """Return the arguments with which a class keeps rows; an activation's are its examples'."""
    shown = [dict(e.arguments) for e in OWNERS[name].examples]
    return [a for a in (shown if name in registry.ACTIVATIONS else [{}]) if keeps_rows(name, a)]


ROWS = {n: max(options(n), key=len) for n in registry.LAYERS if n not in PORTS and options(n)}
RESHAPED = [
    n for n, cls in registry.LAYERS.items()
    if n not in {*ROWS, *PORTS, *PLACED} and not cls.__module__.startswith(WINDOWS)
    and not issubclass(cls, Composed)
]  # fmt: skip
LINEAR = {"type": "Linear", "in_features": 5, "out_features": 4}
LAST = {"type": "Linear", "in_features": 4, "out_features": 3}
UNBIASED = [LINEAR | {"bias": False}, LAST | {"bias": False}]
JOINED = [LINEAR | {"name": "a"}, LINEAR | {"name": "b", "inputs": ["input"]}]
DATA = {"dataset": "random_classification", "n": 12, "d_in": 5, "classes": 3}
ONE_HOT = DATA | {"target_one_hot": True}
CLASS_WEIGHT = [0.5, 1.0, 2.0]


def joined(kind: str, *inputs: str) -> list[dict[str, Any]]:
    width = 8 if kind == "Concatenate" else 4
    return [
        *JOINED,
        {"type": kind, "name": "c", "inputs": list(inputs)},
        LAST | {"in_features": width},
    ]


def placed(name: str, example: Example) -> list[dict[str, Any]]:
    """Put a layer where its inputs have the shape of an example's samples."""
    (given,) = example.draw(np.random.default_rng(0))
    assert given is not None
    layer = OWNERS[name](**example.arguments)
    shape, y = given.shape[1:], None
    for shape in (given.shape[1:], given.shape):  # of one sample: an example may be one
        with suppress(ValueError, IndexError):
            y = layer.forward(np.zeros((6, *shape)))[0]
            break
    assert y is not None
    return [
        LINEAR | {"out_features": math.prod(shape)},
        {"type": "Unflatten", "dim": 1, "unflattened_size": list(shape)},
        {"type": name, **example.arguments},
        {"type": "Flatten"},
        LAST | {"in_features": y.size // 6},
    ]


def may_be_placed(example: Example) -> bool:
    """Whether it trains on several random samples, keeps them apart and has one output."""
    given, spec = example.arguments, example.inputs[0]
    whole = given.get("dim") in (0, -1) or given.get("return_indices") or example.fixed
    lone = len(example.inputs) == 1 and isinstance(spec, tuple) and not isinstance(spec, Draw)
    return example.training and not whole and lone and len(spec) > 1


IN_PLACE = [placed(n, e) for n in PLACED for e in OWNERS[n].examples if may_be_placed(e)]
IN_PLACE += [placed(n, e) for n in RESHAPED for e in OWNERS[n].examples[:1] if may_be_placed(e)]
TEXT = {"dataset": "characters", "context": 3}
MORE: list[dict[str, Any]] = [{}, {"padding_idx": 0}, {"scale_grad_by_freq": True}]
TABLES: list[dict[str, Any]] = [
    {"type": "Embedding", "num_embeddings": 43, "embedding_dim": 2, **more} for more in MORE
]
LOOKED_UP = [
    {
        "layers": [table, {"type": "Flatten"}, LAST | {"in_features": 6, "out_features": 43}],
        "data": TEXT,
    }
    for table in TABLES
]

NETWORKS: list[list[dict[str, Any]]] = [
    *([LINEAR, {"type": n, **ROWS[n]}, LAST] for n in sorted(ROWS)),
    [LINEAR, {"type": "GELU"}, LAST],
    [LINEAR | {"bias": False}, {"type": "Dropout", "p": 1.0}, LAST],
    [{"type": "Maxout", "in_features": 5, "out_features": 4, "num_pieces": 3}, LAST],
    [{"type": "Maxout", "in_features": 5, "out_features": 4, "bias": False}, LAST],
    [{"type": "Flatten"}, LINEAR, {"type": "Identity"}, LAST],
    joined("Add", "a", "b"),
    joined("Multiply", "a", "b"),
    joined("Multiply", "a", "a", "b"),
    joined("Concatenate", "a", "b"),
    *IN_PLACE,
]
CLASS_LOSSES: list[dict[str, Any]] = [
    {"type": "CrossEntropyLoss", "reduction": "sum"},
    {"type": "CrossEntropyLoss", "weight": CLASS_WEIGHT, "label_smoothing": 0.1},
    {"type": "CrossEntropyLoss", "ignore_index": 1, "reduction": "sum"},
    {"type": "MulticlassHingeLoss"},
    {"type": "MulticlassHingeLoss", "reduction": "sum"},
    {"type": "MultiMarginLoss", "p": 2, "weight": CLASS_WEIGHT},
    {"type": "MultiMarginLoss", "reduction": "sum"},
]
NUMBER_LOSSES: list[dict[str, Any]] = [
    {"type": name, "reduction": reduction}
    for name in ["MSELoss", "SquaredErrorLoss", "L1Loss", "HuberLoss", "BCEWithLogitsLoss"]
    for reduction in ["mean", "sum"]
] + [
    {"type": "BCEWithLogitsLoss", "pos_weight": CLASS_WEIGHT, "weight": [2.0]},
    {"type": "BCEWithLogitsLoss", "pos_weight": [3.0], "reduction": "sum"},
    {"type": "SquaredErrorLoss", "factor": 0.5, "reduction": "mean"},
]
PROBABILITIES: list[dict[str, Any]] = [
    {
        "layers": [LINEAR | {"out_features": 3}, last],
        "data": data,
        "loss": {"type": name, "reduction": reduction},
    }
    for name, last, data in [
        ("BCELoss", {"type": "Sigmoid"}, ONE_HOT),
        ("NLLLoss", {"type": "LogSoftmax", "dim": 1}, DATA),
    ]
    for reduction in ["mean", "sum"]
]
OPTIMIZERS: list[dict[str, Any]] = [
    {"type": "SGD", "lr": 0.1, "weight_decay": 0.01},
    {"type": "SGD", "lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    {"type": "SGD", "lr": 0.1, "momentum": 0.8, "dampening": 0.3},
    {"type": "SGD", "lr": 0.1, "momentum": 0.8},
    {"type": "Adagrad", "lr": 0.1, "lr_decay": 0.1, "initial_accumulator_value": 0.1},
    {"type": "RMSprop", "lr": 0.01, "weight_decay": 0.01},
    {"type": "RMSprop", "lr": 0.01, "momentum": 0.5},
    {"type": "RMSprop", "lr": 0.01, "centered": True},
    {"type": "RMSprop", "lr": 0.01, "centered": True, "momentum": 0.5},
    {"type": "Adam", "lr": 0.01, "amsgrad": True, "weight_decay": 0.01},
    {"type": "Adam", "lr": 0.01},
    {"type": "AdamW", "lr": 0.01, "betas": [0.8, 0.99]},
    {"type": "AdamW", "lr": 0.01, "amsgrad": True},
    {"type": "Adam", "lr": 0.01, "decoupled_weight_decay": True, "weight_decay": 0.1},
    {"type": "Adam", "decoupled_weight_decay": True, "amsgrad": True, "maximize": True},
    {"type": "Adadelta", "weight_decay": 0.1, "maximize": True},
    {"type": "Adafactor", "weight_decay": 0.1, "maximize": True},
    {"type": "Adamax"},
    {"type": "ASGD", "t0": 1.0, "lambd": 0.25},
    {"type": "NAdam"},
    {"type": "NAdam", "weight_decay": 0.1, "decoupled_weight_decay": True},
    {"type": "RAdam"},
    {"type": "RAdam", "weight_decay": 0.1, "decoupled_weight_decay": True},
    {"type": "Rprop"},
    {"type": "SGD", "lr": 0.1, "clip_norm": 0.05, "clip_value": 0.001, "weight_decay": 0.1},
    {"type": "SGD", "lr": 0.1, "clip_norm": 0.05, "weight_decay": 0.1},
    {"type": "Adam", "lr": 0.1, "clip_value": 0.001},
]
PENALTIES: list[dict[str, Any]] = [
    {"type": "CrossEntropyLoss",
     "penalties": [{"type": name, "coefficient": 0.1, "parameters": ["*.weight"]}]}
    for name in registry.PENALTIES
]  # fmt: skip
RUNS: list[tuple[int, dict[str, Any]]] = [
    *((1, {"layers": layers}) for layers in NETWORKS),
    *((1, {"loss": loss}) for loss in [*CLASS_LOSSES, *PENALTIES]),
    *((1, {"loss": loss, "data": ONE_HOT}) for loss in NUMBER_LOSSES),
    *((1, changes) for changes in [*PROBABILITIES, *LOOKED_UP]),
    *((steps, {"optimizer": optimizer}) for optimizer in OPTIMIZERS for steps in (1, 2)),
    *((steps, {"optimizer": {"type": "Muon"}, "layers": UNBIASED}) for steps in (1, 2)),
]


def name_of(run: tuple[int, dict[str, Any]]) -> str:
    """Name a run by the types in it."""
    found = re.findall(r"'type': '(\w+)'", str(run[1]))
    return f"{'-'.join(found)}-{run[0]}"


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
@pytest.mark.parametrize("run", RUNS, ids=name_of)
def test_every_row_of_every_class_is_worked(run: tuple[int, dict[str, Any]]) -> None:
    steps, changes = run

    assert_worked(rows_of(steps, **changes))


def test_these_runs_leave_no_formula_of_an_optimiser_untried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = set()

    def recorded(table: Any, role: str, holds: Any) -> str:
        key = chosen(table, role, holds)
        tried.add((table[key], key))
        return key

    monkeypatch.setattr(equations, "chosen", recorded)
    for optimizer in OPTIMIZERS:
        for steps in (1, 2):
            rows_of(steps, optimizer=optimizer)
    rows_of(optimizer={"type": "Muon"}, layers=UNBIASED)

    optimizers = [(o, k) for o, k in ALL if o in registry.OPTIMIZERS]
    assert [(o, k) for o, k in optimizers if (OWNERS[o].equations[k], k) not in tried] == []


def test_penalties_add_to_the_loss_and_to_the_gradients() -> None:
    by = {(w.layer, w.quantity): w.by for w in rows_of(loss=PENALTIES[0])}

    assert "2.weight's penalty" in by["loss", "loss"]
    assert "2.weight's penalty" in by["2", "grad:weight"]
    assert "penalty" not in by["2", "grad:bias"]


@pytest.mark.parametrize(
    ("owner", "role", "wrong"),
    [
        ("Linear", "grad:weight", "dW[o,i] = sum(n, dy[n,o] * x[n,i]) / 6"),
        ("Linear", "output", "y[n,o] = sum(i, x[n,i] * W[o,i])"),
        ("Tanh", "grad_input", "dx[i] = dy[i] * (1 - x[i])"),
        ("CrossEntropyLoss", "grad_input", "dz[n,k] = exp(z[n,k]) / N"),
        ("SGD", "param", "theta[i] = theta_old[i] + eta * grad[i]"),
    ],
)
def test_a_wrong_formula_is_caught_by_the_numbers(
    owner: str, role: str, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OWNERS[owner], "equations", {**OWNERS[owner].equations, role: wrong})

    found = rows_of(optimizer={"type": "SGD", "lr": 0.1})
    caught = [w for w in found if w.holds is False]

    assert caught
    assert all("The formula and the hand-written value differ" in w.finding for w in caught)
    assert all(owner in w.by for w in caught)
