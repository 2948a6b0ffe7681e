"""The named cause: every planted mistake by its name, and silence where nothing explains it all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compare.diagnose.causes import BATCH, CLASSES, Alternative, Cause, Context, Tensors, find_cause
from compare.diagnose.causes.context import gradient_context
from compare.report.rendering.text import summary_markdown
from compare.report.rendering.verdict import verdict_dict
from tests.compare.planted import layers, training
from tests.compare.planted.networks import Mistake, planted

MISTAKES = [*layers.MISTAKES, *training.MISTAKES]
IN_FLOAT64_ONLY = {"tanh: a hidden float32"}  # in float32 it is no mistake
TOLERANCE = 1e-12


def named(mistakes: list[Mistake], dtype: str) -> dict[str, Cause | None]:
    return {m.name: planted(m, dtype).cause for m in mistakes}


# ── mistakes planted in the source, found through a lockstep run ─────────────────────────────────
@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda m: m.name)
def test_a_planted_mistake_is_called_by_its_name(mistake: Mistake) -> None:
    cause = planted(mistake).cause

    assert cause is not None
    assert cause.kind in mistake.kinds
    assert len(cause.evidence.splitlines()) == len(cause.advice.splitlines()) == 1


def test_in_float32_the_same_names_are_found() -> None:
    single = [m for m in MISTAKES if m.name not in IN_FLOAT64_ONLY]
    found = named(single, "float32")

    assert {
        m.name for m in single if (c := found[m.name]) is None or c.kind not in m.kinds
    } == set()


def test_four_in_five_mistakes_are_named_and_nearly_all_of_them_rightly() -> None:
    found = named(MISTAKES, "float64")
    right = sum((c := found[m.name]) is not None and c.kind in m.kinds for m in MISTAKES)
    told = sum(c is not None for c in found.values())

    assert told >= 0.8 * len(MISTAKES)
    assert right >= 0.95 * told


def test_the_report_shows_cause_evidence_and_advice_everywhere() -> None:
    mistake = next(m for m in MISTAKES if m.name == "cross-entropy: not divided by N")
    report = planted(mistake)
    cause = report.cause
    assert cause is not None
    assert report.first_divergence is not None

    assert report.first_divergence.cause == cause
    for text in (str(report), summary_markdown(report).replace("\\", "")):
        assert cause.evidence in text
        assert cause.advice in text
    with pytest.raises(AssertionError, match="the batch size"):
        report.assert_agrees()
    written = json.loads(json.dumps(verdict_dict(report)))["cause"]
    assert (written["kind"], written["evidence"]) == (cause.kind, cause.evidence)


def test_the_saved_page_shows_the_cause(tmp_path: Path) -> None:
    report = planted(next(m for m in MISTAKES if m.name == "tanh: zero"))
    report.save(tmp_path / "report")
    assert report.cause is not None

    assert report.cause.advice in (tmp_path / "report" / "report.html").read_text("utf-8")


def test_a_search_that_fails_does_not_hide_the_disagreement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from compare.commands.run import run
    from compare.diagnose.causes.lockstep import Search

    def broken(self: Search, *_: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(Search, "cause", broken)
    report = run("three-rows", steps=1, drift=False, plant="0.weight.grad*=2")

    assert report.verdict == "disagree"
    assert report.cause is None


# ── on arrays ────────────────────────────────────────────────────────────────────────────────────
def draw(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape) + 0.1


def kind_of(candidate: Any, reference: Any, context: Context | None = None) -> str | None:
    cause = find_cause(candidate, reference, TOLERANCE, context)
    return None if cause is None else cause.kind


G = draw(6, 5)
SIZES = Context(sizes={BATCH: 6, CLASSES: 5, "the width": 7}, constants={"lr": 0.03})
FACTORS = [
    (-1, "sign"), (2, "factor 2"), (0.5, "factor 2"), (6, "batch size"), (1 / 6, "batch size"),
    (-6, "batch size"), (5, "number of classes"), (0.2, "number of classes"), (7, "size"),
    (30, "sizes"), (1 / 30, "sizes"), (6 / 5, "n − 1"), (5 / 6, "n − 1"), (0.03, "setting"),
    (1.0371, "constant factor"),
]  # fmt: skip


@pytest.mark.parametrize(("factor", "kind"), FACTORS)
def test_a_factor_is_called_by_its_meaning(factor: float, kind: str) -> None:
    cause = find_cause(factor * G, G, TOLERANCE, SIZES)

    assert cause is not None
    assert kind in (cause.kind, *cause.also)
    assert f"{factor:.6g}"[:5] in cause.evidence or "setting" in kind


def test_equal_sizes_are_all_named_and_the_advice_is_to_tell_them_apart() -> None:
    context = Context(sizes={BATCH: 2, CLASSES: 2})
    cause = find_cause(2 * draw(2, 2), draw(2, 2), TOLERANCE, context)

    assert cause is not None
    assert {"batch size", "number of classes", "factor 2"} <= {cause.kind, *cause.also}
    assert BATCH in cause.evidence
    assert CLASSES in cause.evidence
    assert "different ones" in cause.advice


def test_sizes_that_differ_are_not_called_equal() -> None:
    context = Context(sizes={BATCH: 4, CLASSES: 5})
    cause = find_cause(draw(4, 5) / 4, draw(4, 5), TOLERANCE, context)

    assert cause is not None
    assert {"batch size", "factor 2"} <= {cause.kind, *cause.also}
    assert "Several sizes" not in cause.advice


def test_two_explanations_of_the_same_numbers_are_both_told() -> None:
    """A leaky ReLU of slope 0.1 whose slope is 0.01, the default: also the slope squared."""
    mistake = next(m for m in MISTAKES if m.name == "leaky relu: the default slope")
    x, dy = draw(8, 4), draw(8, 4, seed=1)
    context = gradient_context(lambda t: torch.nn.functional.leaky_relu(t, 0.1), [x], 0, dy)
    cause = find_cause(dy * np.where(x > 0, 1, 0.01), dy * np.where(x > 0, 1, 0.1), 1e-14, context)

    assert cause is not None
    assert {"derivative twice", "one side of zero"} <= {cause.kind, *cause.also}
    assert planted(mistake).cause is not None


def test_a_single_number_has_every_factor_and_so_tells_only_of_those_with_a_meaning() -> None:
    one = np.array(0.7)

    assert kind_of(1.0371 * one, one, SIZES) is None
    assert kind_of(6 * one, one, SIZES) == "batch size"


SQUARE, CUBE = draw(5, 5), draw(4, 4, 4)
MOVED = [
    (SQUARE.T, SQUARE, "transpose"),
    (-SQUARE.T, SQUARE, "transpose"),
    (np.swapaxes(CUBE, 0, 2), CUBE, "axes"),
    (G.T.reshape(6, 5), G, "reshape"),
    (G.reshape(5, 6).T, G, "reshape"),
    (G[::-1], G, "axes"),
    (np.roll(G, 1, axis=1), G, "axes"),
    (0 * G, G, "zero"),
    (G + 0.25, G, "offset"),
    (G * draw(6, 1), G, "factor per unit"),
    (G + draw(1, 5), G, "row term"),
    (G - G.mean(0) + 3 * draw(1, 5), G - G.mean(0), "mean not subtracted"),
]


@pytest.mark.parametrize(("candidate", "reference", "kind"), MOVED)
def test_what_was_done_to_the_whole_tensor_is_named(
    candidate: np.ndarray, reference: np.ndarray, kind: str
) -> None:
    assert kind_of(candidate, reference) == kind


MISSHAPEN = [
    (G.T, G, "transpose"),
    (G.ravel(), G, "shape"),
    (G, G.sum(0), "missing sum"),
    (G, G.sum(0, keepdims=True), "missing sum"),
    (G, G.mean(1), "missing sum"),
    (G.sum(0), G, "extra sum"),
    (G.mean(0), G, "extra sum"),
    (draw(3), G, None),
    (draw(5), G, None),
]


@pytest.mark.parametrize(("candidate", "reference", "kind"), MISSHAPEN)
def test_a_wrong_shape_is_explained(
    candidate: np.ndarray, reference: np.ndarray, kind: str | None
) -> None:
    assert kind_of(candidate, reference) == kind


def changed(reference: np.ndarray, at: Any, value: Any = None) -> np.ndarray:
    """Spoil a region."""
    wrong = reference.copy()
    wrong[at] = wrong[at] * 1.7 + 0.3 if value is None else value
    return wrong


BIG, IMAGE = draw(20, 12), draw(3, 6, 6)
X = draw(20, 12, seed=5)
TIES = np.where(np.abs(X) < 0.2, 0.0, X)
REGIONS = [
    (changed(BIG, 4), BIG, Context(batch_axis=0), "samples", "sample 4"),
    (changed(BIG, slice(15, None)), BIG, Context(batch_axis=0), "samples", "15 to 19"),
    (changed(BIG, slice(0, 19)), BIG, Context(batch_axis=0), "samples", "0 to 18"),
    (changed(BIG, (slice(None), 11)), BIG, Context(), "units", "column 11"),
    (changed(BIG, (3, 5)), BIG, Context(), "one element", "(3, 5)"),
    (changed(BIG, X < 0), BIG, Context(places={"x": X}), "one side of zero", "x < 0"),
    (changed(BIG, X > 0, 0.0), BIG, Context(places={"x": X}), "one side of zero", "manual is 0"),
    (changed(BIG, X > 1), BIG, Context(places={"x": X}), "range", "x > 1"),
    (changed(BIG, np.abs(X) > 1), BIG, Context(places={"x": X}), "range", "|x| > 1"),
    (changed(BIG, np.abs(X) < 0.5), BIG, Context(places={"x": X}), "range", "between -0.5 and 0.5"),
    (changed(BIG, (X > 0) & (X < 1)), BIG, Context(places={"x": X}), "range", "between 0 and 1"),
    (changed(BIG, TIES == 0), BIG, Context(places={"x": TIES}), "ties", "exactly 0"),
    (changed(BIG, X > 1.2), BIG, Context(masks={"the corners": X > 1.2}), "mask", "the corners"),
    (np.where(X > 0, 2 * BIG, 3 * BIG), BIG, Context(places={"x": X}), "both sides of zero", "× 3"),
]  # fmt: skip


@pytest.mark.parametrize(("candidate", "reference", "context", "kind", "where"), REGIONS)
def test_a_region_is_named(
    candidate: np.ndarray, reference: np.ndarray, context: Context, kind: str, where: str
) -> None:
    cause = find_cause(candidate, reference, TOLERANCE, context)

    assert cause is not None
    assert cause.kind == kind
    assert where in cause.evidence


def test_the_border_of_an_image_is_named() -> None:
    wrong = IMAGE * 2
    wrong[:, 1:-1, 1:-1] = IMAGE[:, 1:-1, 1:-1]

    assert kind_of(wrong, IMAGE) == "border"


def test_where_a_formula_overflows_is_named() -> None:
    x = np.linspace(-900, 900, 60).reshape(20, 3)
    y = np.where(x > 0, x, 0.0)
    with np.errstate(over="ignore"):
        wrong = np.where(x > 709, np.log(1 + np.exp(x)), y)
    cause = find_cause(wrong, y, TOLERANCE, Context(places={"x": x}))

    assert cause is not None
    assert cause.kind == "not finite"
    assert "x > " in cause.evidence


def test_terms_are_named_one_by_one() -> None:
    a, b, c = (draw(6, 5, seed=i) for i in range(3))
    context = Context(terms={"a": a, "b": b, "c": c})
    total = a + b + c

    assert kind_of(a + c, total, context) == "missing term"
    assert kind_of(a - b + c, total, context) == "sign of a term"
    assert kind_of(a + b + 2 * c, total, context) == "extra term"
    assert kind_of(b, total, context) == "missing term"
    assert kind_of(a + 1.37 * b + c, total, context) == "factor on a term"


def test_known_tensors_and_mistakes_are_recognised() -> None:
    t, u = draw(6, 5, seed=8), draw(6, 5, seed=9)
    context = Context(
        sizes={BATCH: 6}, others={"t": t}, upstream=u,
        alternatives=lambda: [Alternative("bad idea", "t cubed", "Do not.", t**3)],
    )  # fmt: skip

    assert kind_of(t, G, context) == "another tensor"
    assert kind_of(6 * t, G, context) == "another tensor"
    assert kind_of(u, G, context) == "upstream unchanged"
    assert kind_of(t**3, G, context) == "bad idea"
    assert kind_of(G + 1.37 * t, G, context) == "extra term"
    assert kind_of(G * t / u, G, context) == "wrong factor"
    assert kind_of(G + t * t * u, G, context) == "wrong term"


def test_samples_are_counted_in_a_sum_over_them() -> None:
    parts = draw(6, 4, 3)
    context = Context(samples=lambda: parts)
    total = parts.sum(0)

    assert kind_of(total - parts[2], total, context) == "samples"
    assert kind_of(total + parts[2], total, context) == "samples"
    assert kind_of(parts[:4].sum(0), total, context) == "samples"
    assert kind_of(parts[0], total, context) == "missing sum"
    assert kind_of(np.tensordot(draw(6), parts, 1), total, context) == "factor per sample"


# ── precision ────────────────────────────────────────────────────────────────────────────────────
def test_a_difference_that_float64_does_not_have_is_the_arithmetics() -> None:
    context = Context(dtype="float32", double=lambda: Tensors(G, G * (1 + 1e-15), 1e-12))
    cause = find_cause(G * (1 + draw(6, 5) * 1e-3), G, 1e-6, context)

    assert cause is not None
    assert cause.kind == "float32 only"


def test_a_formula_that_is_wrong_in_float64_too_is_fitted_there() -> None:
    context = Context(sizes={BATCH: 6}, dtype="float32", double=lambda: Tensors(6 * G, G, 1e-12))

    assert kind_of(6 * G + 1e-5, G, context) == "batch size"


def test_a_float32_inside_the_float64_path_is_recognised() -> None:
    cast = find_cause(G.astype(np.float32), G, 1e-14)
    inside = find_cause(BIG * (1 + 2.0**-24 * draw(20, 12, seed=3)), BIG, 1e-14 * np.abs(BIG))
    offset_by_a_formula = BIG * (1 + 1e-7 * np.abs(draw(20, 12, seed=3)))

    assert cast is not None
    assert inside is not None
    assert cast.kind == inside.kind == "hidden float32"
    assert kind_of(offset_by_a_formula, BIG) is None


# ── silence ──────────────────────────────────────────────────────────────────────────────────────
FUNCTIONS: dict[str, Callable[..., torch.Tensor]] = {
    "tanh": torch.tanh,
    "silu": lambda x: x * torch.sigmoid(x),
    "softmax": lambda x: torch.softmax(x, -1),
    "norm": lambda x: torch.nn.functional.layer_norm(x, x.shape[-1:]),
    "affine": lambda x, w, b: x @ w.T + b,
}


def gradient(name: str, n: int, d: int, o: int, seed: int) -> tuple[np.ndarray, Context]:
    """Return torch's gradient of one argument of one of FUNCTIONS, with all that is known of it."""
    rng = np.random.default_rng(seed)
    inputs = [rng.standard_normal((n, d))]
    if name == "affine":
        inputs += [rng.standard_normal((o, d)), rng.standard_normal(o)]
    wrt = seed % len(inputs)
    leaves = [torch.tensor(a, requires_grad=True) for a in inputs]
    y = FUNCTIONS[name](*leaves)
    dy = rng.standard_normal(tuple(y.shape))
    grad = torch.autograd.grad(y, leaves, torch.tensor(dy))[wrt].numpy()
    return grad, gradient_context(
        FUNCTIONS[name], inputs, wrt, dy, names=["x", "w", "b"][: len(inputs)]
    )


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    st.sampled_from(sorted(FUNCTIONS)), st.integers(2, 6), st.integers(2, 6), st.integers(2, 6),
    st.integers(0, 10**6), st.sampled_from(["random", "noisy", "scattered"]),
)  # fmt: skip
def test_nothing_is_guessed_about_random_wrong_numbers(
    name: str, n: int, d: int, o: int, seed: int, how: str
) -> None:
    grad, context = gradient(name, n, d, o, seed)
    rng = np.random.default_rng(seed + 1)
    wrong = {
        "random": rng.standard_normal(grad.shape) * np.abs(grad).max(),
        "noisy": grad * (1 + 0.1 * rng.standard_normal(grad.shape)),
        "scattered": grad + rng.standard_normal(grad.shape) * (rng.random(grad.shape) < 0.4),
    }[how]
    cause = find_cause(wrong, grad, TOLERANCE, context)

    assert cause is None or cause.kind == "one element"  # which is a fact, and no guess


def test_what_agrees_has_no_cause() -> None:
    assert find_cause(G * (1 + 1e-15), G, TOLERANCE) is None
    assert find_cause(np.zeros(0), np.zeros(0), TOLERANCE) is None
    assert find_cause(G, np.full_like(G, np.nan), TOLERANCE) is None
    assert find_cause(np.array(["a"]), np.array([1.0]), TOLERANCE) is None


def test_a_fit_must_explain_every_element() -> None:
    almost = changed(2 * G, (0, 0))

    assert kind_of(almost, G) is None


# ── anyone's gradient: what compare.check hands over ─────────────────────────────────────────────
def layer_norm(dy: np.ndarray, x: np.ndarray, centred: bool, scaled: bool) -> np.ndarray:
    """Return the gradient of a layer norm without affine part, with or without its two terms."""
    mean, std = x.mean(-1, keepdims=True), np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    y = (x - mean) / std
    inner = dy - (dy.mean(-1, keepdims=True) if centred else 0)
    return (inner - (y * (dy * y).mean(-1, keepdims=True) if scaled else 0)) / std


def test_a_norm_without_the_derivatives_of_its_statistics_is_explained() -> None:
    x, dy = draw(9, 6), draw(9, 6, seed=4)
    context = gradient_context(FUNCTIONS["norm"], [x], 0, dy)
    right = layer_norm(dy, x, True, True)

    assert kind_of(layer_norm(dy, x, True, False), right, context) == "row term"
    assert kind_of(layer_norm(dy, x, False, True), right, context) == "mean not subtracted"
    assert kind_of(layer_norm(dy, x, False, False), right, context) == "row term"


@pytest.mark.parametrize(("power", "kind"), [(0, "upstream missing"), (2, "upstream twice")])
def test_a_scalar_upstream_gradient_is_told_from_a_constant(power: int, kind: str) -> None:
    x, dy = np.random.default_rng(0).standard_normal((5, 3)), np.array(-0.156)
    right = 3 * x**2
    context = gradient_context(lambda t: (t**3).sum(), [x], 0, dy)
    cause = find_cause(right * dy**power, right * dy, TOLERANCE, context)
    none = find_cause(right * 0.7, right * dy, TOLERANCE, context)

    assert cause is not None
    assert cause.kind == kind
    assert none is not None
    assert none.kind == "constant factor"


def test_factors_per_row_are_shown_with_the_digits_that_tell_them_apart() -> None:
    torch = np.random.default_rng(0).standard_normal((6, 3))
    cause = find_cause(torch * [1.000003, 1.000014, 1.000009], torch, TOLERANCE)

    assert cause is not None
    assert "1.000003, 1.000014, 1.000009" in cause.evidence
    cause = find_cause(torch * (1 + 1e-10), torch, TOLERANCE)
    assert cause is not None
    assert "torch × 1.0000000001" in cause.evidence


def test_the_gradient_of_another_argument_is_recognised() -> None:
    a, b, dy = draw(5, 4), draw(5, 4, seed=1), draw(5, 4, seed=2)
    context = gradient_context(torch.mul, [a, b], 0, dy, names=["a", "b"])
    cause = find_cause(dy * a, dy * b, TOLERANCE, context)

    assert cause is not None
    assert cause.kind == "another tensor"
    assert "gradient of b" in cause.evidence


def test_a_bias_summed_over_the_wrong_axis_is_recognised() -> None:
    x, w, b, dy = draw(5, 4), draw(5, 4, seed=1), draw(5), draw(5, 5, seed=2)
    context = gradient_context(FUNCTIONS["affine"], [x, w, b], 2, dy, names=["x", "w", "b"])

    assert kind_of(dy.sum(1), dy.sum(0), context) == "wrong axis"
