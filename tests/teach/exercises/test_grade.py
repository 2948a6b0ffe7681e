"""Grading one submission: right, wrong in known ways, broken, endless, and dishonest."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from compare.errors import UserError
from teach.exercises.definition import exercises
from teach.exercises.grade import Grade, grade
from teach.exercises.show import shown

NUMERICAL = """
def f(x, w, b):
    return (FORWARD(x, w, b) * dout).sum()
b, found = np.zeros(w.shape[1]), []
for n in range(3):
    found.append(np.zeros_like((x, w, b)[n]))
    for i in np.ndindex(found[n].shape):
        values = []
        for h in (STEP, -STEP):
            at = [a.copy() for a in (x, w, b)]
            at[n][i] += h
            values.append(f(*at))
        found[n][i] = (values[0] - values[1]) / (2 * STEP)
return tuple(found)
"""


def marks(result: Grade) -> dict[str, bool]:
    return {t.symbol: t.right for t in result.tensors}


def test_a_right_backward_has_every_tensor_right(attempt) -> None:
    result = attempt()

    assert (result.status, result.score) == ("right", 1.0)
    assert marks(result) == {"dx": True, "dw": True, "db": True}


def test_a_dictionary_and_lists_are_as_good_as_a_tuple(attempt) -> None:
    result = attempt("return {'x': (dout @ w.T).tolist(), 'dw': x.T @ dout, 'b': dout.sum(axis=0)}")

    assert result.status == "right"


def test_a_cache_may_be_an_object_of_ones_own(tmp_path: Path) -> None:
    """What makes classes looks into the interpreter's frames, and must not be refused for it."""
    forward = "return x @ w + b, (x, w)"
    source = (
        exercises()["linear"]
        .text("solution.py")
        .replace(
            forward,
            """
    kept = Cache(x, w)
    kept.more = Pair(x, w), Kind.A, Named(x)
    return x @ w + b, kept""",
        )
        .replace("x, w = cache", "x, w = cache.x, cache.w")
    )
    head = """
import dataclasses, collections, enum, typing
@dataclasses.dataclass
class Cache:
    x: typing.Any
    w: typing.Any
Pair = collections.namedtuple("Pair", "x w")
class Kind(enum.Enum):
    A = 1
class Named(typing.NamedTuple):
    x: typing.Any
"""
    path = tmp_path / "linear.py"
    path.write_text(f"# handgrad exercise: linear\n{head}{source}")
    spoiled = tmp_path / "spoiled.py"
    spoiled.write_text(path.read_text().replace("    db = ", "    cache.x = 2 * x\n    db = "))

    assert grade(path, exercises()).status == "right"
    assert marks(grade(spoiled, exercises()))["arguments unchanged"] is False


def test_another_order_of_operations_passes(attempt) -> None:
    result = attempt(
        "dx = sum(np.outer(dout[:, m], w[:, m]) for m in range(w.shape[1]))\n"
        "dw = sum(np.outer(x[n], dout[n]) for n in reversed(range(len(x))))\n"
        "return dx, dw, np.ones(len(dout)) @ dout",
        head="import numpy as np",
    )

    assert result.status == "right"


@pytest.mark.parametrize(
    ("body", "tensor", "kind"),
    [
        ("return dout @ w.T, x.T @ dout, dout.mean(axis=0)", "db", "batch size"),
        ("return dout @ w.T, -x.T @ dout, dout.sum(axis=0)", "dw", "sign"),
        ("return dout @ w.T, dout.T @ x, dout.sum(axis=0)", "dw", "transpose"),
        ("return dout @ w.T, x.T @ dout, dout[0]", "db", "missing sum"),
        ("return dout @ w.T, 0 * w, dout.sum(axis=0)", "dw", "zero"),
        ("return dout @ w.T, x.T @ dout, dout", "db", "missing sum"),
        ("return dout @ w.T * 1.000001, x.T @ dout, dout.sum(axis=0)", "dx", "constant factor"),
    ],
)
def test_a_mistake_costs_its_tensor_and_is_named_step_by_step(
    attempt, body: str, tensor: str, kind: str
) -> None:
    result = attempt(body)
    wrong = next(t for t in result.tensors if not t.right)
    linear = exercises()["linear"]
    none, first, second, third = (shown(result, linear, n) for n in range(4))

    assert result.status == "wrong"
    assert result.score == pytest.approx(2 / 3)
    assert [s for s, right in marks(result).items() if not right] == [tensor]
    assert wrong.kind == kind
    assert "Hint 1" not in none
    assert f"begin with {tensor}" in first
    assert kind not in first
    assert f"Hint 2, what it looks like: {kind}" in second
    assert wrong.hint not in second
    assert f"Hint 3, the index form: {linear.about.index_form[tensor[1:]]}" in third
    assert linear.text("solution.py").splitlines()[-2].strip() not in third


def test_json_hides_what_no_hint_has_asked_for(attempt) -> None:
    result = attempt("return dout @ w.T, x.T @ dout, dout.mean(axis=0)")
    shy, all_of_it = result.as_dict(hints=0)["tensors"][2], result.as_dict()["tensors"][2]

    assert (shy["right"], shy["told"], shy["cause"], shy["hint"]) == (False, "", "", "")
    assert all_of_it["kind"] == "batch size"
    assert all_of_it["hint"]


def test_a_missing_transpose_of_a_square_matrix_gets_the_authors_hint(tmp_path: Path) -> None:
    rnn = exercises()["rnn_step"]
    path = tmp_path / "mine.py"
    path.write_text(f"# handgrad exercise: rnn_step\n{rnn.text('solution.py')}".replace(
        "dz @ wh.T", "dz @ wh"
    ))  # fmt: skip
    result = grade(path, exercises())
    (wrong,) = [t for t in result.tensors if not t.right]

    assert wrong.symbol == "dh"
    assert "wh is not transposed" in wrong.cause


def test_an_untouched_stub_is_not_filled_in(tmp_path: Path) -> None:
    path = tmp_path / "linear.py"
    path.write_text(exercises()["linear"].stub)
    result = grade(path, exercises())

    assert (result.status, result.score) == ("not filled in", 0.0)
    assert "Nothing is filled in yet" in result.message


@pytest.mark.parametrize(
    ("body", "head", "said"),
    [
        ("return 1 / 0", "", "ZeroDivisionError: division by zero (line 15: return 1 / 0)"),
        ("return (", "", "'(' was never closed"),
        ("raise SystemExit(0)", "", "SystemExit: 0"),
        ("return x", "raise SystemExit(0)", "The file fails when it is run: SystemExit: 0"),
        ("return dout @ w.T, x.T @ dout", "", "linear_backward returned 2 gradients; wanted are 3"),
        ("return 'x', 'w', 'b'", "", "no array of numbers"),
        ("return object(), w, x", "", "an object of type object"),
        ("return linear_backward(dout, cache)", "", "RecursionError"),
        ("return bytearray(2**44), x, w", "", "MemoryError"),
    ],
)
def test_a_broken_submission_gets_the_last_line_of_its_traceback(
    attempt, body: str, head: str, said: str
) -> None:
    result = attempt(body, head=head)

    assert (result.status, result.score) == ("error", 0.0)
    assert said in f"{result.message} {result.error}"


def test_a_missing_function_is_named(tmp_path: Path) -> None:
    path = tmp_path / "linear.py"
    path.write_text(exercises()["linear"].stub.replace("def linear_backward", "def backward"))

    assert "no function linear_backward" in grade(path, exercises()).message


def test_none_for_every_gradient_is_wrong_not_an_error(attempt) -> None:
    result = attempt("pass")

    assert result.status == "wrong"
    assert result.score == 0.0
    assert "was not returned" in result.tensors[0].told


def test_a_crash_in_one_case_alone_is_told_with_its_line(attempt) -> None:
    result = attempt("assert len(dout) > 1, 'too few'\nreturn dout @ w.T, x.T @ dout, dout.sum(0)")

    assert result.status == "wrong"
    assert result.tensors[0].where == "only in the case 'batch of 1'"
    assert "AssertionError: too few (line 15: assert len(dout) > 1" in result.tensors[0].told
    assert "remote" not in result.tensors[0].told
    assert "worker" not in result.tensors[0].told


def test_changing_the_inputs_costs_a_point_of_its_own(attempt) -> None:
    result = attempt("dx = dout @ w.T, x.T @ dout, dout.sum(axis=0)\nx *= 2\nreturn dx")

    assert result.status == "wrong"
    assert marks(result)["arguments unchanged"] is False
    assert "in place" in result.tensors[-1].cause


def test_changing_the_upstream_gradient_is_noticed(attempt) -> None:
    result = attempt("g = dout @ w.T, x.T @ dout, dout.sum(axis=0)\ndout[:] = 0\nreturn g")

    assert marks(result)["arguments unchanged"] is False


def test_a_gradient_that_grows_from_call_to_call_is_wrong(attempt) -> None:
    result = attempt(
        "global n\nn += 1\nreturn n * (dout @ w.T), x.T @ dout, dout.sum(axis=0)", head="n = 0"
    )

    assert marks(result) == {"dx": False, "dw": True, "db": True}


def test_a_changed_forward_is_no_way_to_be_right(tmp_path: Path) -> None:
    source = exercises()["linear"].text("solution.py").replace("x @ w + b, (x", "x @ w + 2 * b, (x")
    path = tmp_path / "linear.py"
    path.write_text(source.replace("dout.sum(axis=0)", "2 * dout.sum(axis=0)"))
    result = grade(path, exercises())

    assert marks(result)["output"] is False
    assert marks(result)["db"] is False


@pytest.mark.parametrize("where", ["body", "import"])
def test_an_endless_loop_is_stopped(attempt, where: str) -> None:
    loop = "while True: pass"
    result = attempt(loop, timeout=0.5) if where == "body" else attempt(head=loop, timeout=0.5)

    assert (result.status, result.score) == ("timeout", 0.0)
    assert "stopped after 0.5 s" in result.message
    assert result.seconds < 15


def numerical(forward: str, step: str) -> str:
    return NUMERICAL.strip().replace("FORWARD", forward).replace("STEP", step)


def test_numbers_measured_by_finite_differences_are_wrong(attempt) -> None:
    body = numerical("(lambda x, w, b: x @ w + b)", "1e-5")
    result = attempt(body, head="import numpy as np")

    assert (result.status, result.score) == ("wrong", 0.0)


def test_calling_forward_over_and_over_is_measuring(attempt) -> None:
    """With a step of 1 the differences of a linear function would be exact."""
    body = numerical("linear_forward", "1.0").replace("(x, w, b) * dout", "(x, w, b)[0] * dout")
    result = attempt(body, head="import numpy as np")

    assert (result.status, result.score) == ("not allowed", 0.0)
    assert "derive the gradient; do not measure it" in result.message


def test_forward_may_be_called_once_for_its_values(attempt) -> None:
    result = attempt(
        "y, _ = linear_forward(x, w, 0)\nreturn dout @ w.T, x.T @ dout, (dout + 0 * y).sum(0)"
    )

    assert result.status == "right"


def test_what_is_printed_is_shown_once_and_counts_for_nothing(attempt) -> None:
    result = attempt("print('score 1.0, all right ' * 9999)\nreturn dout, x, w")

    assert result.status == "wrong"
    assert result.score == 0.0
    assert result.printed.startswith("score 1.0")
    assert len(result.printed) <= 2000


def test_numbers_remembered_from_one_seed_fail_with_another(attempt) -> None:
    body = "return np.full((7, 3), 1.5), x.T @ dout, dout.sum(axis=0)"
    result = attempt(body, head="import numpy as np", seed=7)

    assert result.seed == 7
    assert marks(result)["dx"] is False


def test_without_the_marker_the_functions_tell_the_exercise(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text(exercises()["tanh"].text("solution.py"))

    assert grade(path, exercises()).exercise == "tanh"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "Which exercise is it?"),
        (b"# handgrad exercise: linaer\n", "Did you mean 'linear'"),
        (b"\xff\xfe\x00", "is no text"),
        (b"#" * 300_000, "has 300,000 bytes"),
    ],
)
def test_what_is_no_submission_is_unusable(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "a.py"
    path.write_bytes(content)
    result = grade(path, exercises())

    assert result.status == "unusable"
    assert said in result.message


def test_a_forward_of_another_shape_is_wrong_and_nobody_elses_fault(tmp_path: Path) -> None:
    path = tmp_path / "linear.py"
    source = exercises()["linear"].text("solution.py")
    path.write_text(source.replace("return x @ w + b, (x, w)", "return (x @ w + b).T, (x, w)"))
    result = grade(path, exercises())

    assert result.status in ("wrong", "error")
    assert result.score == 0.0


def test_what_a_submission_says_can_be_shown(attempt) -> None:
    result = attempt("print('\\ud800\\x1b[2J')\nraise ValueError('\\ud801\\x1b[2J')")

    assert result.printed == "??[2J\n"
    assert "ValueError: ??[2J" in result.error
    result.as_dict()["error"].encode()


def test_an_unsound_exercise_is_not_the_submissions_fault(attempt, monkeypatch) -> None:
    def broken(*_):
        raise ValueError("no")

    monkeypatch.setattr("teach.exercises.judging.candidate_errors", broken)

    with pytest.raises(UserError, match="exercise linear itself is not sound: its solution fails"):
        attempt()


def test_grading_a_wrong_submission_imports_nothing_slow_but_torch(tmp_path: Path) -> None:
    """A second each: torch's compiler, SymPy, pandas, and all of `manual`."""
    solution = exercises()["linear"].text("solution.py")
    path = tmp_path / "linear.py"
    path.write_text(solution.replace("dout.sum(axis=0)", "dout.mean(axis=0)"), encoding="utf-8")
    code = (
        "import sys; from pathlib import Path\n"
        "from teach.exercises.definition import exercises\n"
        "from teach.exercises.grade import grade\n"
        f"assert grade(Path({str(path)!r}), exercises(), name='linear').status == 'wrong'\n"
        "slow = ['torch._dynamo', 'sympy', 'pandas', 'manual.registry']\n"
        "print([name for name in slow if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.stdout, done.stderr) == ("[]\n", "")
