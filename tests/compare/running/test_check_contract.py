"""What backward promises: it changes nothing, repeats itself, and keeps shapes and dtypes."""

from __future__ import annotations

import numpy as np
import pytest

import compare
from compare.pair.nests import same
from compare.report.rendering.facts import worst_rows
from tests.compare.pair.gradient_pairs import AFFINE, affine, affine_backward, affine_forward


def broken(report) -> set[str]:
    bad = report.differences.query("verdict not in ['agree', 'vacuous']")
    return set(bad["quantity"])


def check(forward=affine_forward, backward=affine_backward, **options):
    return compare.check(forward, backward, affine, AFFINE, shrink=False, **options)


def test_every_promise_is_listed_when_it_is_kept() -> None:
    report = check()
    kept = report.differences.query("layer == 'contract'")

    assert list(kept["quantity"]) == [
        "unchanged:x", "unchanged:w", "unchanged:b", "unchanged:upstream gradient",
        "unchanged:cache", "repeated:x", "repeated:w", "repeated:b",
    ]  # fmt: skip
    assert set(kept["verdict"]) == {"agree"}


def test_a_changed_upstream_gradient_is_one_broken_promise_and_no_more() -> None:
    def backward(dout, cache):
        grads = affine_backward(dout, cache)
        dout *= 0
        return grads

    assert broken(check(backward=backward)) == {"unchanged:upstream gradient"}


def test_a_forward_that_changes_its_input_is_caught() -> None:
    def forward(x, w, b):
        out = x @ w + b
        w *= 1.0 + 1e-16 * 0 + 2.0**-52
        return out, (x, w)

    report = check(forward)

    assert "unchanged:w" in broken(report)
    assert "forward changes w in place" in report.first_divergence.explanation


def test_a_backward_that_changes_the_upstream_gradient_is_caught() -> None:
    def backward(dout, cache):
        grads = affine_backward(dout, cache)
        dout *= 0.5
        return grads

    assert {"unchanged:upstream gradient"} <= broken(check(backward=backward))


def test_a_backward_that_changes_the_cache_is_caught_and_so_is_its_second_answer() -> None:
    def forward(x, w, b):
        return x @ w + b, {"x": x.copy(), "w": w.copy()}

    def backward(dout, cache):
        grads = affine_backward(dout, (cache["x"], cache["w"]))
        cache["x"] *= 2
        return grads

    assert broken(check(forward, backward)) == {"unchanged:cache", "repeated:w"}


def test_a_cache_that_the_next_forward_pass_overwrites_is_caught() -> None:
    buffer: dict = {}

    def forward(x, w, b):
        buffer["x"] = x
        return x @ w + b, w

    def backward(dout, w):
        return affine_backward(dout, (buffer["x"], w))

    assert broken(check(forward, backward)) == {"repeated:w"}


class Accumulates:
    def __init__(self) -> None:
        self.w, self.dw = np.ones((3, 5)), 0.0

    def forward(self, x):
        self.x = x
        return x @ self.w

    def backward(self, dout):
        self.dw = self.dw + self.x.T @ dout
        return dout @ self.w.T


def test_gradients_that_add_up_as_torchs_do_are_a_note_unless_that_is_forbidden() -> None:
    def run(purity: str):
        inputs = {"x": (4, 3), "w": (3, 5)}
        return compare.check(
            Accumulates(), None, lambda x, w: x @ w, inputs, shrink=False, purity=purity
        )

    assert run("note").agrees
    assert any("adds to layer.dw instead of replacing it" in note for note in run("note").notes)
    assert broken(run("fail")) == {"repeated:w"}
    assert "adds to layer.dw" in run("fail").first_divergence.explanation


def test_a_gradient_in_another_dtype_is_caught() -> None:
    def backward(dout, cache):
        dx, dw, db = affine_backward(dout, cache)
        return dx, dw.astype(np.float64), db

    single, double = check(backward=backward, dtype="float32"), check(backward=backward)

    assert broken(single) == {"grad:w"}
    assert "dtype float64; its input has float32" in single.first_divergence.explanation
    assert double.agrees


def test_a_gradient_of_another_shape_is_caught() -> None:
    def backward(dout, cache):
        dx, dw, db = affine_backward(dout, cache)
        return dx, dw, db[None, :]

    report = check(backward=backward)

    assert broken(report) == {"grad:b"}
    assert "has shape (1, 5); it must be (5,)" in report.first_divergence.explanation


def test_a_missing_gradient_is_missing() -> None:
    def backward(dout, cache):
        dx, dw, _ = affine_backward(dout, cache)
        return dx, dw, None

    report = check(backward=backward)

    assert set(report.differences.query("quantity == 'grad:b'")["verdict"]) == {"missing"}
    assert "the gradient of b was not returned" in report.first_divergence.explanation


def test_writing_into_a_dictionary_that_is_passed_through_is_a_note() -> None:
    def forward(x, state):
        state["mean"] = x.mean()
        return x * 2, None

    report = compare.check(
        forward, lambda dout, cache: dout * 2, lambda x, state: x * 2,
        {"x": (4, 3), "state": {"mode": "train"}},
    )  # fmt: skip

    assert report.agrees, str(report)
    assert any("writes into 'state'" in note for note in report.notes)


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [
        (np.array([1.0, np.nan]), np.array([1.0, np.nan]), True),
        (np.array([1.0]), np.array([1.0], dtype=np.float32), False),
        ({"a": [np.zeros(2), 3]}, {"a": [np.zeros(2), 3]}, True),
        ({"a": [np.zeros(2), 3]}, {"a": [np.ones(2), 3]}, False),
        ((1, 2), [1, 2], False),
        (np.zeros(2), np.zeros(3), False),
        ("x", "x", True),
        (None, 0, False),
    ],
)
def test_nests_are_compared_bit_for_bit(a, b, equal: bool) -> None:
    assert same(a, b) is equal


def noted(forward, backward, reference, inputs) -> str:
    report = compare.check(forward, backward, reference, inputs, shrink=False, cases=["random"])
    assert report.verdict == "agree"
    return " ".join(report.notes)


def test_gradients_that_share_memory_with_the_upstream_or_each_other_are_noted() -> None:
    def both(dout, cache):
        grad = 1.0 * dout
        return grad, grad

    def add(x, y):
        return x + y

    inputs = {"x": (3, 4), "y": (3, 4)}
    given = noted(lambda x, y: (x + y, None), lambda d, c: (d, 1.0 * d), add, inputs)
    one = noted(lambda x, y: (x + y, None), both, add, inputs)
    own = noted(lambda x, y: (x + y, None), lambda d, c: (1.0 * d, 1.0 * d), add, inputs)

    assert "the memory of the upstream gradient as that of x:" in given
    assert "one memory as the gradients of x and y" in one
    assert "memory" not in own


def test_a_gradient_in_a_reused_buffer_is_noted() -> None:
    buffer = np.empty((3, 4))

    def into_buffer(dout, x):
        return np.multiply(2 * x, dout, out=buffer)

    def square(x):
        return x * x

    reusing = noted(lambda x: (x * x, x), into_buffer, square, {"x": (3, 4)})
    fresh = noted(lambda x: (x * x, x), lambda dout, x: 2 * x * dout, square, {"x": (3, 4)})

    assert "is overwritten by the next" in reusing
    assert "overwritten" not in fresh


def test_right_numbers_in_another_dtype_are_told_as_that_and_wrong_ones_are_not() -> None:
    def wide(factor):
        def backward(dout, cache):
            dx, dw, db = affine_backward(dout, cache)
            return dx, factor * dw.astype(np.float64), db

        return backward

    right = check(backward=wide(1.0), dtype="float32", cases=["random"])
    wrong = check(backward=wide(1.5), dtype="float32", cases=["random"])

    assert right.verdict == wrong.verdict == "disagree"
    assert right.reason.startswith("Every number is right, but in another dtype")
    assert "side with" not in right.first_divergence.explanation
    assert "do not agree" in wrong.reason


def test_a_wrong_number_is_told_before_right_ones_in_another_dtype() -> None:
    def backward(dout, cache):
        dx, dw, db = affine_backward(dout, cache)
        return dx.astype(np.float64), 2 * dw, db

    report = check(backward=backward, dtype="float32", cases=["random"])

    assert report.first_divergence.quantity == "grad:w"
    assert report.cause.kind == "factor 2"
    assert [row["quantity"] for row in worst_rows(report, 2)] == ["grad:w", "grad:x"]


def test_a_wrong_number_in_another_dtype_is_named_by_its_number() -> None:
    def backward(dout, cache):
        dx, dw, db = affine_backward(dout, cache)
        return dx, 2.0 * dw.astype(np.float64), db

    assert check(backward=backward, dtype="float32", cases=["random"]).cause.kind == "factor 2"
