"""What learners hand in: wrong in ways that a small test set misses, or right in odd ways."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from teach.exercises.definition import MARKER, exercises
from teach.exercises.grade import Grade, grade
from teach.exercises.show import shown

Handed = Callable[..., Grade]


@pytest.fixture
def handed(tmp_path: Path) -> Handed:
    """Grade an exercise's own forward with this body of backward."""

    def graded(name: str, body: str, *, head: str = "import numpy as np", seed: int = 0) -> Grade:
        about, stub = exercises()[name].about, exercises()[name].stub
        forward = stub.replace(MARKER, f"{head}\n{MARKER}")
        forward = forward[: forward.index(f"def {about.backward}")]
        lines = "".join(f"    {line}\n" for line in body.splitlines())
        path = tmp_path / f"{name}.py"
        path.write_text(f"{forward}def {about.backward}(dout, cache):\n{lines}")
        return grade(path, exercises(), seed=seed)

    return graded


def told(result: Grade, hints: int = 2) -> str:
    return shown(result, exercises()[result.exercise], hints)


def right(result: Grade) -> dict[str, bool]:
    return {t.symbol: t.right for t in result.tensors}


SOFTMAX = "log_p, y = cache\np, n = np.exp(log_p), len(y)\n"
NORM = "normal, scale, gamma = cache\ng = dout * gamma\n"
NORMED = "return scale * ({0}), (dout * normal).sum(0), dout.sum(0)"


# ── sizes and labels that are written into the code ──────────────────────────────────────────────
@pytest.mark.parametrize(
    ("exercise", "body"),
    [
        ("softmax_cross_entropy", SOFTMAX + "return dout * (p - np.eye(3)[y]) / n"),
        ("softmax_cross_entropy", SOFTMAX + "return dout * (p - np.eye(y.max() + 1)[y]) / n"),
        ("softmax_cross_entropy",
         SOFTMAX + "for j in range(3):\n    p[:, j] -= y == j\nreturn dout * p / n"),
        ("softmax_cross_entropy",
         SOFTMAX + "t = np.zeros((n, 3))\nt[range(n), y] = 1\nreturn dout * (p - t) / n"),
        ("batch_norm",
         NORM + NORMED.format("g - g.sum(0) / 5 - normal * (g * normal).sum(0) / 5")),
        ("batch_norm", NORM + NORMED.format(
            "g - g.mean(0) - normal * (g * normal).mean(0)"
        ).replace("dout.sum(0)", "dout.reshape(5, -1).sum(0)")),
        ("linear", "x, w = cache\nreturn dout @ w.T, x.T @ dout, dout.mean(0) * 7"),
    ],
)  # fmt: skip
def test_a_size_in_the_code_is_wrong_and_called_so(
    handed: Handed, exercise: str, body: str
) -> None:
    result = handed(exercise, body)

    assert result.status == "wrong"
    assert {t.kind for t in result.tensors if not t.right} == {"size in the code"}
    assert "Is a size written as a number" in told(result)
    assert "wrong only in the case" in told(result)


def test_labels_remembered_from_one_drawing_are_wrong(handed: Handed) -> None:
    body = "classes = np.array([0, 2, 1, 1, 2] * 2)[:n]\nreturn dout * (p - np.eye(3)[classes]) / n"

    assert handed("softmax_cross_entropy", SOFTMAX + body, seed=3).status == "wrong"


# ── right answers in odd ways ────────────────────────────────────────────────────────────────────
def test_a_dataclass_may_name_its_types_as_text(handed: Handed) -> None:
    head = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass Kept:\n    x: float\n    w: 'float'"
    )
    body = "kept = Kept(*cache)\nreturn dout @ kept.w.T, kept.x.T @ dout, dout.sum(0)"

    assert handed("linear", body, head=head).status == "right"


def test_importing_all_of_numpy_is_told_with_its_line(handed: Handed) -> None:
    result = handed("linear", "return 0", head="from numpy import *")

    assert result.status == "not allowed"
    assert "from numpy import * (name what you import" in result.message
    assert "(line 1)" in result.message


def test_a_length_may_be_read_off_any_axis_that_has_it_by_definition(handed: Handed) -> None:
    """The stub says wh (H, H): both of its axes are H."""
    body = (
        "x, h, wx, wh, new = cache\ndz = dout * (1 - new**2)\n"
        "db = dz.reshape(-1, wh.shape[0]).sum(0)\n"
        "return dz @ wx.T, dz @ wh.T, x.T @ dz, h.T @ dz, db"
    )

    assert handed("rnn_step", body).status == "right"


@pytest.mark.parametrize(
    ("exercise", "body", "score"),
    [
        ("linear",
         "x, w = cache\ng = dout @ w.T, x.T @ dout, dout.sum(0)\ndout *= 0\nreturn g", 3 / 4),
        ("linear",
         "x, w = cache\ng = dout @ w.T, x.T @ dout, dout.sum(0)\nx -= 0.1\nreturn g", 3 / 4),
        ("multiply", "x, y = cache\ndy = dout * x\ndout *= y\nreturn dout, dy", 2 / 3),
        ("relu", "dout[cache <= 0] = 0\nreturn dout", 1 / 2),
    ],
)  # fmt: skip
def test_a_change_in_place_costs_one_and_says_of_what(
    handed: Handed, exercise: str, body: str, score: float
) -> None:
    result = handed(exercise, body)

    assert result.score == pytest.approx(score)
    assert [s for s, ok in right(result).items() if not ok] == ["arguments unchanged"]
    assert "changed in place" in told(result, 0)


def test_extrapolated_differences_pass_as_the_guide_says(handed: Handed) -> None:
    """Nothing in the numbers tells them from a derivation; a plain quotient is caught."""
    body = """x, _ = cache
def slope(h, f=lambda x: x * (1 + np.tanh(x / 2)) / 2):
    return (f(x + h) - f(x - h)) / (2 * h)
d = [slope(2.0 ** -i) for i in range(3, 9)]
for k in range(1, len(d)):
    d = [(4**k * b - a) / (4**k - 1) for a, b in zip(d, d[1:])]
return dout * d[0]"""

    assert handed("swish", body).status == "right"
    assert handed("swish", body.replace("range(3, 9)", "range(17, 18)")).status == "wrong"


# ── hints ────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("exercise", "body", "hint"),
    [
        ("two_layer",
         "x, a, w1, w2 = cache\ndz = dout @ w2.T\n"
         "return dz @ w1.T, x.T @ dz, dz.sum(0), a.T @ dout, dout.sum(0)",
         "the ReLU's mask is missing"),
        ("maximum", "x, y = cache\nreturn dout * (x >= y), dout * (y >= x)",
         "at a tie both get the whole gradient"),
        ("maximum", "x, y = cache\nf = np.maximum(x, y)\nreturn dout * (f == x), dout * (f == y)",
         "at a tie both get the whole gradient"),
        ("maximum", "x, y = cache\nreturn dout * (x > y), dout * (y > x)",
         "at a tie neither gets the gradient"),
        ("softmax_cross_entropy", SOFTMAX + "return (p - np.eye(p.shape[1])[y]) / n",
         "upstream missing"),
        ("softmax_cross_entropy",
         SOFTMAX + "c = p.shape[1]\nreturn dout * (p - np.eye(c)[y]) / c",
         "divided by the number of classes"),
        ("linear", "x, w = cache\nreturn dout @ w.T * np.nan, x.T @ dout, dout.sum(0)",
         "your gradient is NaN in the case 'random', at 21 of 21 elements"),
        ("relu", "return dout * np.maximum(cache, 0) / cache",
         "your gradient is NaN in the case 'zeros'"),
        ("sigmoid_chain",
         "x, w, f = cache\ne = np.exp(-np.log(f / (1 - f)))\ndz = dout * e / (1 + e)**2\n"
         "return np.outer(dz, w), x.T @ dz, dz.sum()",
         "your gradient is NaN in the case 'large (×1000)'"),
        ("linear",
         "x, w = cache\nnoise = 1e-7 * np.random.randn()\n"
         "return dout @ w.T + noise, x.T @ dout, dout.sum(0)",
         "called twice with the same arguments, gives two different gradients of x"),
    ],
)  # fmt: skip
def test_the_hint_is_of_the_mistake_itself(
    handed: Handed, exercise: str, body: str, hint: str
) -> None:
    result = handed(exercise, body)

    assert result.status == "wrong"
    assert hint in told(result)


def test_a_mean_over_the_batch_has_one_meaning(handed: Handed) -> None:
    """No size of an exercise is another one's double, square or neighbour."""
    result = handed("linear", "x, w = cache\nreturn dout @ w.T, x.T @ dout, dout.mean(0)")

    assert "batch size" in told(result)
    assert "The same numbers fit" not in told(result)
    assert "repeat with different ones" not in told(result)


def test_factors_near_one_are_shown_with_enough_digits(handed: Handed) -> None:
    body = (
        "v = 1 / scale**2 - EPS\nreturn (g - g.mean(0) - normal * (g * normal).mean(0)) "
        "/ np.sqrt(v + 1e-8), (dout * normal).sum(0), dout.sum(0)"
    )
    text = told(handed("batch_norm", NORM + body))

    assert "one factor for each index of axis 1: 1.00" in text
    assert ": 1, " not in text


def test_shapes_that_do_not_fit_are_told_and_hinted(handed: Handed) -> None:
    """The commonest mistake: a transpose is missing, and NumPy refuses."""
    result = handed("linear", "x, w = cache\nreturn dout @ w, x.T @ dout, dout.sum(0)")
    text = told(result, 3)

    assert (result.status, result.score) == ("error", 0.0)
    assert "the summed axes must be equally long; here they are 5 and 3" in result.error
    assert "shapes: dout (7, 5), w (3, 5), x (7, 3)" in result.error
    assert "a transpose may be missing" in text
    for line in exercises()["linear"].about.index_form.values():
        assert line in text
    assert "For a hint: --hint" in told(result, 0)


def test_a_wrong_indent_is_told_as_such(handed: Handed) -> None:
    result = handed("linear", "x, w = cache\n  dx = 1")

    assert "IndentationError: unexpected indent (line" in told(result, 0)
    assert ": dx = 1)" in told(result, 0)


def test_another_encoding_is_told_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "linear.py"
    path.write_bytes(f"{exercises()['linear'].stub}# caf\xe9\n".encode("latin-1", "replace"))

    assert "Save it as UTF-8." in grade(path, exercises()).message
