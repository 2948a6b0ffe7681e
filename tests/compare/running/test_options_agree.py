"""Every layer, loss, optimiser option, schedule, penalty and clipping agrees in a lockstep run."""

from __future__ import annotations

from math import prod
from typing import Any

import pytest

import compare
from compare.description.config import Config
from compare.report.report import Report
from evidence.false_alarms.layers import placed
from manual import registry

pytestmark = pytest.mark.usefixtures("verdict_alone")
LAYERS: dict[str, dict[str, Any]] = {
    "Softplus": {"beta": 2.0, "threshold": 3.0},
    "Softmax": {"dim": 1},
    "LogSoftmax": {"dim": -1},
    "Softmin": {"dim": 1},
    "Dropout": {"p": 0.3},
}
JOINS = {"Concatenate"}  # in a test of its own, as are Add and Multiply
NOWHERE = {  # of rows
    "AdaptiveLogSoftmaxWithLoss", "AffineGrid", "BatchReindex", "CircularConvolution",
    "CosineSimilarity", "Crop", "Embedding", "EmbeddingBag", "FractionalMaxPool2d",
    "FractionalMaxPool3d", "GridSample", "InitialState", "Interpolation", "MaxUnpool1d",
    "MaxUnpool2d", "MaxUnpool3d", "MemoryAdd", "MemoryErase", "MemoryRead", "PairwiseDistance",
    "ScaledDotProductAttention", "Sharpening", "TransformerDecoder", "TransformerDecoderLayer",
}  # fmt: skip
NUMBERS = ["MSELoss", "SquaredErrorLoss", "L1Loss", "HuberLoss", "BCEWithLogitsLoss"]
CLASSES = ["CrossEntropyLoss", "MultiMarginLoss", "MulticlassHingeLoss"]
OPTIMIZERS: list[dict[str, Any]] = [
    {"type": "SGD", "lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    {"type": "SGD", "lr": 0.1, "momentum": 0.8, "dampening": 0.3},
    {"type": "Adagrad", "lr": 0.1, "lr_decay": 0.1, "initial_accumulator_value": 0.1},
    {"type": "RMSprop", "lr": 0.01, "centered": True, "momentum": 0.5, "weight_decay": 0.01},
    {"type": "Adam", "lr": 0.01, "amsgrad": True, "weight_decay": 0.01},
    {"type": "AdamW", "lr": 0.01, "betas": [0.8, 0.99]},
    {"type": "Adadelta", "weight_decay": 0.01},
    {"type": "Adafactor", "weight_decay": 0.01},
    {"type": "Adamax", "lr": 0.01, "maximize": True},
    {"type": "ASGD", "lr": 0.1, "t0": 1.0, "lambd": 0.1},
    {"type": "NAdam", "lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True},
    {"type": "RAdam", "lr": 0.01, "betas": [0.8, 0.99]},
    {"type": "Rprop", "lr": 0.01, "step_sizes": [0.001, 0.1]},
    {"type": "Adam", "lr": 0.01, "foreach": True},
    {"type": "SGD", "lr": 0.1, "clip_norm": 0.05},
    {"type": "Adam", "lr": 0.1, "clip_value": 0.001},
    {"type": "SGD", "lr": 0.1, "schedule": {"type": "Step", "step_size": 2, "gamma": 0.5}},
    {"type": "AdamW", "lr": 0.1, "schedule": {"type": "Cosine", "total_steps": 4}},
]


def run(**changes: Any) -> Report:
    tables: dict[str, Any] = {
        "data": {"dataset": "random_classification", "n": 60, "d_in": 5, "classes": 3},
        "layers": [
            {"type": "Linear", "in_features": 5, "out_features": 6},
            {"type": "Tanh"},
            {"type": "Linear", "in_features": 6, "out_features": 3},
        ],
        "train": {"steps": 5, "batch_size": 16},
        "compare": {"drift": False},
    }
    tables |= changes
    return compare.run(Config.model_validate(tables))


dtypes = pytest.mark.parametrize("dtype", ["float64", "float32"])


@dtypes
@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.filterwarnings("ignore:dropout2d. Received a 3D input")
@pytest.mark.parametrize("name", sorted(set(registry.LAYERS) - JOINS - NOWHERE))
def test_every_layer_agrees_in_the_middle_of_a_network(name: str, dtype: str) -> None:
    train = {"steps": 5, "batch_size": 16, "dtype": dtype}
    places = [(e, placed(name, e)) for e in registry.LAYERS[name].examples]
    held = [(e, p) for e, p in places if p is not None and prod(p[0]) > 1]  # norms of 1 are 0
    if name == "Softmax2d":  # without a batch axis it sums over samples
        held = [(e, p) for e, p in held if len(p[0]) == 3]
    held = [(e, p) for e, p in held if e.arguments.get("norm_type") not in (1.5, 3)]  # roots: NaN
    assert held
    for example, place in held[:2]:
        report = run(layers=_around(name, LAYERS.get(name, example.arguments), *place), train=train)

        if (name, dtype) == ("Transformer", "float32"):  # its encoder's updates are rounding
            assert not report.differences["verdict"].isin(["disagree", "missing"]).any(), report
        else:
            assert report.verdict == "agree", report
        assert "middle" in set(report.differences["layer"])


def _around(
    name: str, arguments: Any, before: tuple[int, ...], after: tuple[int, ...], inputs: int
) -> list[dict[str, Any]]:
    """Put a layer between linear ones, its input shaped as in its example, its output flat."""
    values = {k: list(v) if isinstance(v, tuple) else v for k, v in arguments.items()}
    shape = [{"name": "in", "type": "Unflatten", "dim": 1, "unflattened_size": list(before)}]
    return [
        {"name": "first", "type": "Linear", "in_features": 5, "out_features": prod(before),
         "bias": False},  # before a norm its gradient is 0
        *shape[: len(before) - 1],
        {"name": "middle", "type": name, "inputs": ["in" if before[1:] else "first"] * inputs}
        | values,
        {"name": "flat", "type": "Flatten"},
        {"name": "last", "type": "Linear", "in_features": prod(after), "out_features": 3},
    ]  # fmt: skip


@dtypes
@pytest.mark.parametrize(
    "arguments", [{}, {"padding_idx": 3}, {"scale_grad_by_freq": True}], ids=str
)
def test_an_embedding_agrees_as_the_first_layer(arguments: dict[str, Any], dtype: str) -> None:
    layers = [
        {"type": "Embedding", "num_embeddings": 43, "embedding_dim": 4, **arguments},
        {"type": "Flatten"},
        {"type": "Linear", "in_features": 32, "out_features": 43},
    ]

    report = run(
        data={"dataset": "characters", "context": 8},
        layers=layers,
        train={"steps": 5, "batch_size": 16, "dtype": dtype},
    )

    assert report.verdict == "agree", report
    assert "0" in set(report.differences["layer"])


@dtypes
def test_every_join_agrees_with_a_node_used_more_than_once(dtype: str) -> None:
    layers = [
        {"name": "a", "type": "Linear", "in_features": 5, "out_features": 4},
        {"name": "b", "type": "Sigmoid", "inputs": ["a"]},
        {"name": "c", "type": "Multiply", "inputs": ["a", "b"]},
        {"name": "d", "type": "Add", "inputs": ["c", "a", "c"]},
        {"name": "e", "type": "Concatenate", "inputs": ["d", "b", "input"]},
        {"name": "f.0", "type": "Maxout", "in_features": 13, "out_features": 3, "num_pieces": 3},
    ]

    report = run(layers=layers, train={"steps": 5, "batch_size": 16, "dtype": dtype})

    assert report.verdict == "agree", report


@dtypes
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("name", CLASSES)
def test_every_loss_on_classes_agrees(name: str, reduction: str, dtype: str) -> None:
    loss: dict[str, Any] = {"type": name, "reduction": reduction}
    if name == "CrossEntropyLoss":
        loss |= {"weight": [0.2, 1.0, 3.0], "label_smoothing": 0.1, "ignore_index": 2}
    penalties = [
        {"type": "L2Penalty", "coefficient": 0.01},
        {"type": "L1Penalty", "coefficient": 0.001, "parameters": ["2.*"]},
    ]

    report = run(
        loss={**loss, "penalties": penalties},
        train={"steps": 5, "batch_size": 16, "dtype": dtype},
    )

    assert report.verdict == "agree", report


@dtypes
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("name", NUMBERS)
def test_every_loss_on_numbers_agrees(name: str, reduction: str, dtype: str) -> None:
    data = {"dataset": "random_classification", "n": 60, "d_in": 5, "classes": 3}
    report = run(
        data={**data, "target_one_hot": True},
        loss={"type": name, "reduction": reduction},
        optimizer={"type": "SGD", "lr": 0.001},
        train={"steps": 5, "batch_size": 16, "dtype": dtype},
    )

    assert report.verdict == "agree", report


@dtypes
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: "-".join(map(str, o)))
def test_every_optimizer_option_agrees(optimizer: dict, dtype: str) -> None:
    report = run(optimizer=optimizer, train={"steps": 8, "batch_size": 16, "dtype": dtype})

    assert report.verdict == "agree", report
    states = report.differences["quantity"].str.startswith("state:").any()
    assert states == (optimizer["type"] != "SGD" or "momentum" in optimizer)


def test_clipping_that_is_forgotten_on_one_side_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "compare.pair.manual_side.clip_grad_norm", lambda grads, norm: (grads, norm)
    )

    found = run(optimizer={"type": "SGD", "lr": 0.1, "clip_norm": 0.05}).first_divergence

    assert found is not None
    assert found.quantity.startswith("param:")


def test_a_penalty_with_a_wrong_gradient_is_blamed_on_the_penalty(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from manual.penalties import L2Penalty

    monkeypatch.setattr(
        L2Penalty, "backward", lambda self, dy, cache: ((self.coefficient * dy * cache[0],), {})
    )
    penalties = [{"type": "L2Penalty", "coefficient": 0.01}]

    found = run(loss={"type": "CrossEntropyLoss", "penalties": penalties}).first_divergence

    assert found is not None
    assert found.layer_type == "L2Penalty"
    assert "L2Penalty" in found.explanation
