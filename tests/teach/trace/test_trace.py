"""handgrad trace: the worked examples beside torch, planted mistakes, and the command."""

from __future__ import annotations

import copy
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from compare.errors import UserError
from manual import expression, gates, variables
from manual.expression import exp
from manual.graph import Gradients, Graph
from teach.trace import cli as tracing_cli
from teach.trace import jacobian_cost, jacobian_plot, jacobian_sizes, jacobian_svg, trace
from teach.trace.layout import Box, Lane, place

SIGMOID = "1/(1+exp(-(w0*x0 + w1*x1 + w2)))"
POINT = {"w0": 2, "x0": -1, "w1": -3, "x1": -2, "w2": -3}
W, X = [[0.1, 0.5], [-0.3, 0.8]], [0.2, 0.4]
EXAMPLES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("(x + y) * z", {"x": -2, "y": 5, "z": -4}, {"x": -4, "y": -4, "z": 3}),
    (SIGMOID, POINT, {"w0": -0.20, "x0": 0.39, "w1": -0.39, "x1": -0.59, "w2": 0.20}),
    ("(x*y + max(z, w)) * 2", {"x": 3, "y": -4, "z": 2, "w": -1},
     {"x": -8, "y": 6, "z": 2, "w": 0}),
    ("sum((W @ x)**2)", {"W": W, "x": X},
     {"x": [-0.112, 0.636], "W": [[0.088, 0.176], [0.104, 0.208]]}),
]  # fmt: skip


# ── the worked examples ──────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(("text", "point", "gradients"), EXAMPLES, ids=[e[0] for e in EXAMPLES])
def test_the_worked_examples_agree_with_torch(text: str, point: dict, gradients: dict) -> None:
    found = trace(text, point)

    assert found.agrees, str(found)
    for name, expected in gradients.items():
        judged = found.gradients[name]
        digits = 2 if text == SIGMOID else 12
        np.testing.assert_array_equal(np.round(judged.manual, digits), expected)
        np.testing.assert_allclose(judged.manual, judged.torch, rtol=1e-14)
        assert judged.budget <= 1


def test_local_times_upstream_is_the_gradient_of_every_edge() -> None:
    for text, point, _ in EXAMPLES[:3]:
        for step in trace(text, point).steps:
            np.testing.assert_allclose(step.local * step.upstream, step.gradient.manual, rtol=1e-15)


def test_a_matrix_product_shows_its_formula() -> None:
    steps = {s.edge.source: s for s in trace("norm2(W @ x)", {"W": W, "x": X}).steps}

    assert steps["W"].local == "upstream · xᵀ"
    assert steps["x"].local == "Wᵀ · upstream"
    np.testing.assert_allclose(steps["q1"].local, [0.44, 0.52])


def test_the_local_gradient_of_a_stretched_input_is_not_summed() -> None:
    steps = {s.edge.source: s for s in trace("sum(x * b)", {"x": [1, 2], "b": 3}).steps}

    assert steps["b"].local.tolist() == [1, 2]
    assert steps["b"].gradient.manual == 3


def test_patterns_are_named() -> None:
    remarks = {s.edge.source: s.remark for s in trace(*EXAMPLES[2][:2]).steps}
    assert remarks == {"q3": "scales", "q1": "distributes", "q2": "distributes", "z": "routes",
                       "w": "routes", "x": "switches", "y": "switches"}  # fmt: skip

    branch = trace("x * y + x", {"x": 3, "y": -4})
    assert [s.remark for s in branch.steps if s.edge.source == "x"] == [
        "distributes, adds at a branch", "switches, adds at a branch",
    ]  # fmt: skip
    assert branch.gradients["x"].manual == -3
    assert "x = 1 + (-4)" in str(branch)


def test_a_max_gate_halves_at_a_tie_and_says_so() -> None:
    traced = trace("max(x, y) + relu(z)", {"x": 2, "y": 2, "z": 1})
    found = {step.edge.source: step.remark for step in traced.steps}

    assert found["x"] == found["y"] == "routes, half at a tie"
    assert found["z"] == "routes"


def test_a_value_used_twice_inside_is_summed_too() -> None:
    (x,) = variables("x")
    s = exp(x)
    found = trace(s * s + s, {"x": 0.5})

    assert set(found.sums) == {"x", "q1"}
    assert found.agrees


def test_a_tie_is_halved_on_both_sides() -> None:
    found = trace("max(x, y) * 3", {"x": 2, "y": 2})

    assert found.agrees
    assert found.gradients["x"].torch == found.gradients["x"].manual == 1.5


def test_an_array_gets_a_random_upstream_gradient_whose_seed_is_told() -> None:
    found = trace("W @ x", {"W": W, "x": X}, seed=3)

    assert found.agrees
    assert found.upstream.tolist() == np.random.default_rng(3).standard_normal(2).tolist()
    assert "drawn with seed 3" in str(found)
    given = trace("W @ x", {"W": W, "x": X}, upstream=[1, 0])
    assert given.gradients["x"].manual.tolist() == W[0]


# ── mistakes ─────────────────────────────────────────────────────────────────────────────────────
def wrong(gate: type, factor: float = 1.0, swap: bool = False) -> Any:
    """Return a gate with a wrong backward: a factor on its first gradient, or exchanged ones."""

    class Wrong(gate):  # type: ignore[misc]
        def backward(self, grad_output: Any, cache: Any) -> Any:
            grads, own = super().backward(grad_output, cache)
            grads = grads[::-1] if swap else grads
            return (grads[0] * factor, *grads[1:]), own

    return Wrong


@pytest.mark.parametrize(
    ("node", "planted", "place"),
    [
        ("q1", wrong(gates.MultiplyGate, swap=True)(), r"q1, x \* y: .* to x is not torch's"),
        ("q2", wrong(gates.MaxGate, swap=True)(), r"q2, max\(z, w\): .* to z"),
        ("q3", wrong(gates.AddGate, 1 + 1e-12)(), r"q3, x \* y \+ max\(z, w\): .* to x \* y"),
        ("f", wrong(gates.MultiplyConstantGate, -1)(2.0), "f, "),
    ],
)
def test_a_gate_with_a_wrong_backward_is_named(node: str, planted: Any, place: str) -> None:
    right = expression("(x*y + max(z, w)) * 2", x=3, y=-4, z=2, w=-1)
    found = trace(right.with_layers({node: planted}))

    assert trace(right).agrees
    assert found.verdict == "disagree"
    assert found.first is not None
    assert re.search(place, found.first)
    assert str(found).endswith(f"disagree: {found.first}.")
    assert 'class="wire wrong"' in found.svg()


def test_a_wrong_value_is_named() -> None:
    class Wrong(gates.ExpGate):
        def forward(self, x: Any) -> Any:
            return super().forward(x * (1 + 1e-9))

    found = trace(expression("exp(x) * 2", x=1).with_layers({"q1": Wrong()}))

    assert found.first == "the value of q1, exp(x), is not torch's"


def test_zeros_alone_show_nothing() -> None:
    found = trace("x * y", {"x": 0, "y": 0})

    assert found.verdict == "incomplete"
    assert not found.agrees


def test_an_infinite_gradient_never_agrees() -> None:
    class Infinite(gates.ExpGate):
        def backward(self, grad_output: Any, cache: Any) -> Any:
            (grad,), own = super().backward(grad_output, cache)
            return (grad + float("inf"),), own

    planted = Infinite()
    found = trace(expression("exp(x) + y", x=1, y=1).with_layers({"q1": planted}))

    assert found.verdict == "disagree"
    assert str(found.first).startswith("Infinite at q1, exp(x): the gradient that it hands back to")
    assert str(found.first).endswith("x is not finite")


@pytest.mark.parametrize(
    ("text", "point", "message"),
    [
        ("sqrt(x) + y", {"x": 0, "y": 1},
         r"'x\*\*0.5' with respect to 'x' is not finite at x = 0.0: torch has inf"),
        ("sqrt(x) * y", {"x": [0, 4], "y": 0},
         r"is not finite .*: torch has \[nan +0\.\]"),
        ("x * y + x * z", {"x": 1, "y": 9e307, "z": 9e307},
         r"'x \* y \+ x \* z' is not finite at x \* y = 9e\+307"),
        ("x * y - x * z", {"x": 1e-9, "y": 1.7e308, "z": -1.7e308},
         "with respect to 'x' is not finite: torch has inf"),
    ],
)  # fmt: skip
def test_a_point_where_torch_has_no_finite_gradient_is_refused(
    text: str, point: dict, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        trace(text, point, upstream=np.ones(2) if text == "sqrt(x) * y" else None)


class Overwriting(Graph):
    """Backward that stores a share where it must be added."""

    def gradients(self, tape: Any, grad_output: Any, *, wrt: Any = ()) -> Gradients:
        grads = {self.output: grad_output}
        for name, layer, inputs in reversed(self.nodes):
            shares, _ = layer.backward(grads[name], tape.caches[name])
            grads |= dict(zip(inputs, shares, strict=True))
        return Gradients(grads, {})


@pytest.mark.parametrize(
    ("shared", "place"), [(lambda x, y: exp(x * y), "q2, exp(x * y)"), (lambda x, y: x, "x")]
)
def test_a_wrong_sum_over_branches_is_named(shared: Any, place: str) -> None:
    x, y = variables("x y")
    q = shared(x, y)
    right = expression(q * y + q, x=0.5, y=2)
    broken = copy.copy(right)
    broken.graph = Overwriting(right.graph.nodes, right.graph.inputs)
    first = f"the gradient of {place}, a sum over its branches, is not torch's"

    assert trace(right).agrees
    assert trace(broken).first == first


TRACED = {  # of an expression's language
        "AddGate": "x + y", "SubtractGate": "x - y", "MultiplyGate": "x * y", "LogGate": "log(x)",
        "DivideGate": "x / y", "MaxGate": "max(x, y, 1)", "NegateGate": "-x", "ExpGate": "exp(x)",
        "ReciprocalGate": "1 / x", "SigmoidGate": "sigmoid(x)", "TanhGate": "tanh(x)",
        "AbsGate": "abs(-x)", "SinGate": "sin(x)", "CosGate": "cos(x)", "MeanGate": "mean(x)",
        "SumGate": "sum(x)", "SquaredNormGate": "norm2(x)", "MatMulGate": "x @ y",
        "AddConstantGate": "x - 2", "MultiplyConstantGate": "x * -2", "PowerGate": "x ** 2.5",
    }  # fmt: skip


@pytest.mark.parametrize(("name", "text"), TRACED.items(), ids=TRACED)
def test_every_gate_can_be_traced_and_drawn(name: str, text: str) -> None:
    found = trace(text, {k: v for k, v in (("x", [0.5, 2.0]), ("y", [1.5, 0.75])) if k in text})

    assert name in {type(n.layer).__name__ for n in found.expression.graph.nodes}
    assert found.agrees, str(found)
    ET.fromstring(found.svg())


def test_relu_is_a_max_gate_and_a_notebook_shows_the_drawing() -> None:
    found = trace("relu(x) - mean(y)", {"x": -2.0, "y": [1.0, 4.0]})

    assert found.agrees
    assert float(found.gradients["x"].manual) == 0
    assert [type(n.layer).__name__ for n in found.expression.graph.nodes].count("MaxGate") == 1
    assert found._repr_svg_() == found.svg()


# ── the drawing ──────────────────────────────────────────────────────────────────────────────────
def test_the_drawing_holds_every_value_and_gradient_in_both_themes() -> None:
    svg = trace(*EXAMPLES[2][:2]).svg()
    root = ET.fromstring(svg)
    text: dict[Any, list[Any]] = {"value": [], "gradient": []}
    for element in root.iter("{http://www.w3.org/2000/svg}text"):
        if element.get("class") in text:
            text[element.get("class")] += [span.text for span in element]

    assert sorted(text["value"]) == sorted(["3", "-4", "2", "-1", "-12", "2", "-10", "-20"])
    assert sorted(text["gradient"]) == sorted(["-8", "6", "2", "0", "2", "2", "2", "1"])
    assert "prefers-color-scheme: dark" in svg


def test_boxes_do_not_overlap() -> None:
    nodes = {name: Box(30, 30) for name in "abcdef"}
    ends = [("a", "c"), ("b", "c"), ("a", "d"), ("c", "e"), ("d", "e"), ("e", "f"), ("a", "f")]
    lanes = [Lane(a, b, Box(60, 40)) for a, b in ends]
    width, height = place(nodes, lanes)

    boxes = [*nodes.values(), *(lane.text for lane in lanes)]
    for i, a in enumerate(boxes):
        assert a.x - a.width / 2 >= 0
        assert a.x + a.width / 2 <= width
        assert a.y + a.height / 2 <= height
        for b in boxes[:i]:
            apart = abs(a.x - b.x) >= (a.width + b.width) / 2
            assert apart or abs(a.y - b.y) >= (a.height + b.height) / 2


# ── the command ──────────────────────────────────────────────────────────────────────────────────
def run(*arguments: str) -> Any:
    app = typer.Typer(context_settings={"help_option_names": ["-h", "--help"]})
    app.command(cls=tracing_cli.TraceCommand)(tracing_cli.trace)
    return CliRunner().invoke(app, arguments)


def test_the_command_prints_both_ways_and_the_verdict() -> None:
    result = run(SIGMOID, *(f"{k}={v}" for k, v in POINT.items()))

    assert result.exit_code == 0, result.output
    for part in ("Forward", "Backward", "0.731059", "-0.534447", "distributes", "agree: all 17"):
        assert part in result.output


def test_json_and_svg(tmp_path: Path) -> None:
    path = tmp_path / "graph.svg"
    result = run("norm2(W @ x)", "W=[[0.1,0.5],[-0.3,0.8]]", "x=[0.2,0.4]", "--svg", str(path),
                 "--json")  # fmt: skip
    found = json.loads(result.stdout)

    assert result.exit_code == 0
    assert found["verdict"] == "agree"
    np.testing.assert_allclose(found["gradients"]["x"]["torch"], [-0.112, 0.636])
    assert found["backward"][1]["local"] == "upstream · xᵀ"
    assert path.read_text("utf-8").startswith("<svg")


def test_zeros_alone_return_1() -> None:
    result = run("x * y", "x=0", "y=0", "--quiet")

    assert result.exit_code == 1
    assert result.output == ""


def test_a_wrong_gate_returns_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates.ExpGate, "backward", lambda self, dy, cache: ((dy,), {}))
    result = run("exp(x)", "x=1")

    assert result.exit_code == 1
    assert "disagree: ExpGate at f, exp(x)" in result.output


@pytest.mark.parametrize(
    ("arguments", "gradients"),
    [
        (["-x**2", "x=3"], {"x": -6}),
        (["-2**2*x", "x=3"], {"x": -4}),
        (["-q*h", "q=3", "h=2"], {"q": -2, "h": -3}),
        (["-x", "x=3", "--upstream", "-2"], {"x": 2}),
        (["--upstream", "-2", "--seed=1", "-x", "x=3"], {"x": 2}),
        (["--", "-x", "x=-3"], {"x": -1}),
        (["-(x + y)", "x=-3", "y=1"], {"x": -1, "y": -1}),
    ],
)
def test_an_expression_may_begin_with_a_minus(arguments: list[str], gradients: dict) -> None:
    before = [] if "--" in arguments else ["--json"]
    result = run(*before, *arguments)

    assert result.exit_code == 0, result.output
    if before:
        found = json.loads(result.stdout)["gradients"]
        assert {name: g["manual"] for name, g in found.items()} == gradients


def test_options_stand_before_and_after_an_expression_with_a_minus(tmp_path: Path) -> None:
    path = tmp_path / "graph.svg"
    before = run("--svg", str(path), "-q", "-x**2", "x=3")
    drawn = path.read_text("utf-8")
    path.unlink()
    after = run("-x**2", "x=3", "-q", "--svg", str(path))

    assert (before.exit_code, before.output) == (after.exit_code, after.output) == (0, "")
    assert path.read_text("utf-8") == drawn


@pytest.mark.parametrize("arguments", [["--sgv", "x*2", "x=1"], ["x*2", "x=1", "-s"], ["-q"]])
def test_a_mistyped_option_is_still_refused(arguments: list[str]) -> None:
    result = run(*arguments)

    assert result.exit_code == 2
    assert "No such option" in result.output or "Missing argument" in result.output


def test_the_help_shows_the_arguments_once() -> None:
    result = run("-h")

    assert result.exit_code == 0
    assert "[NAME=VALUE]..." in result.output
    assert "[[NAME" not in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x * y", "x=1"], "no value for y"),
        (["x * 2", "x=1", "x=2"], "'x' is given twice"),
        (["x * 2", "x"], "'x' is no NAME=VALUE"),
        (["x * 2", "x=[1,"], "must be a finite number or a list"),
        (["x * 2", "x=nan"], "must be a finite number"),
        (["x * 2", "x=[true]"], "must be a finite number"),
        (["x * 2", "x=1", "--upstream", "one"], "value of --upstream must be a finite number"),
        (["x * 2", "x=1", "--upstream", "[1,2]"], r"must have the value's shape \(\)"),
        (["log(x)", "x=-1"], r"'log\(x\)' is not finite at x = -1"),
        (["sqrt(x)", "x=0"], "'x' is not finite at x = 0.0: torch has inf. Choose values at which"),
        (["max(x)", "x=[1,2]"], r"'max\(x\)' .*: max takes two or more arguments"),
        (["maxx(x, x)", "x=1"], "Did you mean 'max'"),
        (["x * 2", "x=1", "--svg", "/nowhere/at/all.svg"], "cannot be written"),
    ],
)
def test_what_cannot_be_used_is_told(arguments: list[str], message: str) -> None:
    result = run(*arguments)

    assert isinstance(result.exception, UserError)
    with pytest.raises(UserError, match=message):
        raise result.exception


# ── Jacobians ────────────────────────────────────────────────────────────────────────────────────
def test_the_sizes_of_the_course() -> None:
    assert jacobian_sizes(4096)[:3] == (4096, 4096, 4096**2)
    assert jacobian_sizes(4096, 100)[:4] == (409_600, 409_600, 409_600**2, 409_600)
    assert jacobian_sizes(4096, 100).float32_bytes > 600e9


def test_the_full_jacobian_costs_more_and_ever_more() -> None:
    cost = jacobian_cost([32, 256], repeats=1)

    assert cost["jacobian_entries"].tolist() == [32**2, 256**2]
    assert (cost["jacobian_bytes"] >= 4 * cost["n"] ** 2).all()
    assert (cost["product_bytes"] < 40 * cost["n"] + 4000).all()
    assert (cost["jacobian_seconds"] > cost["product_seconds"]).all()
    assert len(jacobian_plot(cost).axes) == 2
    assert "full Jacobian" in jacobian_svg(cost)
