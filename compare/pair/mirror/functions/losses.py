"""torch.nn.functional: losses, with their old arguments."""

from __future__ import annotations

from typing import Any

import numpy as np

from compare.pair.mirror.call import Builder, Call, NoTwin, Value
from compare.pair.mirror.functions.making import held, made, plain
from manual.gates.functional import Functional
from manual.losses.ctc import NormalisedCTC


def loss(name: str, inputs: int, defaults: dict[str, Any], *, weighted: bool = False) -> Builder:
    """Return the builder of a loss.

    Args:
        name: of the hand-written class.
        inputs: how many values it takes.
        defaults: the function's further arguments, in its order.
        weighted: whether its `weight` is data that the constructor takes.
    """

    def builder(*args: Any, **kwargs: Any) -> Call:
        names = ("input", "target", *defaults) if inputs == 2 else (*NAMES[name], *defaults)
        given = {**defaults, **dict(zip(names, args, strict=False)), **kwargs}
        if "weight" not in names and given.get("weight") is None:
            given.pop("weight", None)
        if len(args) > len(names) or not given.keys() <= set(names):
            raise NoTwin("other arguments than the function's")
        values = [given.pop(k) for k in names[:inputs]]
        return Call(made(name, **_options(given)), tuple(values))

    return builder


def _options(given: dict[str, Any]) -> dict[str, Any]:
    """Return a loss's constructor arguments; `size_average` and `reduce` are the old reduction."""
    given = dict(given)
    old = {k: given.pop(k, None) for k in ("size_average", "reduce")}
    if any(not isinstance(x, bool | None) for x in old.values()):
        raise NoTwin("torch's inner function, whose reduction is a number")
    if old["reduce"] is False:
        given["reduction"] = "none"
    elif old["size_average"] is not None or old["reduce"] is not None:
        given["reduction"] = "sum" if old["size_average"] is False else "mean"
    for name in ("weight", "pos_weight"):
        if isinstance(given.get(name), Value):
            if given[name].grad:
                raise NoTwin(f"a {name} with a gradient")
            given[name] = given[name].array
    return {k: v if isinstance(v, np.ndarray) else plain(v) for k, v in given.items()}


NAMES = {
    "MarginRankingLoss": ("input1", "input2", "target"),
    "CosineEmbeddingLoss": ("input1", "input2", "target"),
    "TripletMarginLoss": ("anchor", "positive", "negative"),
    "GaussianNLLLoss": ("input", "target", "var"),
    "CTCLoss": ("log_probs", "targets", "input_lengths", "target_lengths"),
}
OLD = {"size_average": None, "reduce": None, "reduction": "mean"}
NEW = {"reduction": "mean"}


def ctc_loss(
    log_probs: Value, targets: Value, input_lengths: Any, target_lengths: Any, blank: int = 0,
    reduction: str = "mean", zero_infinity: bool = False,
) -> Call:  # fmt: skip
    if not isinstance(reduction, str):
        raise NoTwin("torch's inner function, whose reduction is a number")
    layer = NormalisedCTC(blank, reduction, zero_infinity)
    lengths = {
        "input_lengths": np.array(plain(input_lengths)),
        "target_lengths": np.array(plain(target_lengths)),
    }
    return Call(Functional(layer, (), 2, lengths), (log_probs, targets))


def linear_cross_entropy(
    input: Value, linear_weight: Value, target: Value, *, linear_bias: Value | None = None,
    weight: Value | None = None, reduction: str = "mean", ignore_index: int | None = None,
    label_smoothing: float = 0.0, options: Any = None,
) -> Call:  # fmt: skip
    shape = linear_weight.shape
    given: dict[str, Any] = {"weight": weight, "reduction": reduction,
                             "label_smoothing": label_smoothing}  # fmt: skip
    if ignore_index is not None:
        given["ignore_index"] = ignore_index
    layer = made(
        "LinearCrossEntropyLoss", shape[-1], shape[0], out_features=tuple(shape[1:-1]),
        bias=linear_bias is not None, **_options(given),
    )  # fmt: skip
    known: dict[str, Any] = {"linear.weight": linear_weight, "linear.bias": linear_bias}
    return held(layer, (input, target), **known)


TABLE: dict[str, Builder] = {
    "cross_entropy": loss("CrossEntropyLoss", 2, {
        "weight": None, "size_average": None, "ignore_index": -100, "reduce": None,
        "reduction": "mean", "label_smoothing": 0.0}),
    "nll_loss": loss("NLLLoss", 2, {
        "weight": None, "size_average": None, "ignore_index": -100, "reduce": None,
        "reduction": "mean"}),
    "mse_loss": loss("MSELoss", 2, OLD), "l1_loss": loss("L1Loss", 2, OLD),
    "smooth_l1_loss": loss("SmoothL1Loss", 2, {**OLD, "beta": 1.0}),
    "huber_loss": loss("HuberLoss", 2, {**NEW, "delta": 1.0}),
    "kl_div": loss("KLDivLoss", 2, {**OLD, "log_target": False}),
    "binary_cross_entropy": loss("BCELoss", 2, {"weight": None, **OLD}),
    "binary_cross_entropy_with_logits": loss(
        "BCEWithLogitsLoss", 2, {"weight": None, **OLD, "pos_weight": None}),
    "poisson_nll_loss": loss("PoissonNLLLoss", 2, {
        "log_input": True, "full": False, "size_average": None, "eps": 1e-8, "reduce": None,
        "reduction": "mean"}),
    "gaussian_nll_loss": loss("GaussianNLLLoss", 3, {"full": False, "eps": 1e-6, **NEW}),
    "hinge_embedding_loss": loss("HingeEmbeddingLoss", 2, {"margin": 1.0, **OLD}),
    "margin_ranking_loss": loss("MarginRankingLoss", 3, {"margin": 0.0, **OLD}),
    "cosine_embedding_loss": loss("CosineEmbeddingLoss", 3, {"margin": 0.0, **OLD}),
    "soft_margin_loss": loss("SoftMarginLoss", 2, OLD),
    "multi_margin_loss": loss("MultiMarginLoss", 2, {
        "p": 1, "margin": 1.0, "weight": None, **OLD}),
    "multilabel_margin_loss": loss("MultiLabelMarginLoss", 2, OLD),
    "multilabel_soft_margin_loss": loss("MultiLabelSoftMarginLoss", 2, {"weight": None, **OLD}),
    "triplet_margin_loss": loss("TripletMarginLoss", 3, {
        "margin": 1.0, "p": 2, "eps": 1e-6, "swap": False, **OLD}),
    "ctc_loss": ctc_loss, "linear_cross_entropy": linear_cross_entropy,
}  # fmt: skip
