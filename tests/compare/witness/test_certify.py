"""Certificates: proven digits for the right derivation, and none for a wrong one."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

flint = pytest.importorskip("flint", reason="certificates need python-flint")

from compare.commands.certify_cli import certify as command  # noqa: E402
from compare.commands.status import DISAGREE  # noqa: E402
from compare.errors import UserError  # noqa: E402
from compare.witness import definitions, optimizer_items, rows  # noqa: E402
from compare.witness.ball_array import balls  # noqa: E402
from compare.witness.branches import at_branch  # noqa: E402
from compare.witness.cases import DefinitionCase, GradientCase, Item, layer_case  # noqa: E402
from compare.witness.certify import Certificate, certify  # noqa: E402
from compare.witness.items import chosen, items  # noqa: E402
from compare.witness.precision import working  # noqa: E402
from manual import registry  # noqa: E402
from manual.activations import ReLU, Sigmoid, Tanh  # noqa: E402
from manual.gates.steps import Step  # noqa: E402
from manual.losses import MSELoss  # noqa: E402

arb = flint.arb
TINY = 1e-30  # a relative mistake that no float64 comparison can see
ITEMS = items()
STEPS = {cls.__name__ for cls in Step.__subclasses__()} | {"RoundedDivideGate"}  # 0, times any
GRADIENTS = [i for i in ITEMS if i.kind != "optimizer" and "p=1.0" not in i.name
             and i.group not in STEPS]  # fmt: skip
FIRST = list({i.group: i for i in reversed(GRADIENTS)}.values())  # one of every class
FEW = FIRST[::12]  # for mistakes that are larger than the one that every class is tried with
STACKS = {"TransformerEncoder", "TransformerDecoder", "Transformer"}  # half a minute; recorded
SOME = [i for n, i in enumerate(ITEMS)
        if i.group not in {*STACKS, *(j.group for j in ITEMS[:n])}]  # fmt: skip
OPTIMIZERS = [i for i in ITEMS if i.kind == "optimizer"]
RNG = np.random.default_rng


@pytest.fixture(autouse=True)
def _precision() -> Any:
    with working(256, 50):
        yield


def wrong(item: Item, mistake: Callable, seed: int = 0) -> Certificate:
    """Certify an item whose gradients are all changed by `mistake`."""
    case = item.case(RNG(seed))
    assert isinstance(case, GradientCase)

    def backward(dout: Any, cache: Any) -> tuple:
        return tuple(mistake(g) for g in case.backward(dout, cache))

    return GradientCase(case.forward, backward, case.inputs).certify(256, 50, 0)


# ── what is certified ────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("item", SOME, ids=lambda item: item.name)
def test_items_are_certified_to_50_digits(item: Item) -> None:
    """Of a class one; of all, what `handgrad certify --record` wrote of these very sources."""
    found = item.certify(256, 50, 0)

    assert found.certified, found.note
    assert found.digits >= 50
    assert found.radius < (1e-50 if "Transformer" in item.name else 1e-70)  # stacks widen balls


def uncertified(groups: set[str]) -> set[str]:
    tables = (registry.LAYERS, registry.LOSSES, registry.PENALTIES, registry.OPTIMIZERS,
              registry.GATES)  # fmt: skip
    return (
        {name for table in tables for name in table} - groups - {"ConstantGate", "ModeGate"}
    )  # no inputs


def test_everything_hand_written_is_certified() -> None:
    assert uncertified({item.group for item in ITEMS}) == set()
    assert uncertified({item.group for item in ITEMS} - {"Tanh"}) == {"Tanh"}


def test_names_tell_the_items_apart() -> None:
    assert len({item.name for item in ITEMS}) == len(ITEMS)


@pytest.mark.parametrize("item", FIRST, ids=lambda item: item.name)
def test_a_gradient_off_by_1e_30_has_30_digits_and_no_certificate(item: Item) -> None:
    found = wrong(item, lambda g: g * (1 + arb(TINY)))

    assert 29.9 <= found.digits <= 30.1
    assert not found.certified
    assert "WRONG" in found.note


@pytest.mark.parametrize("item", FEW, ids=lambda item: item.name)
@pytest.mark.parametrize(
    "mistake",
    [lambda g: -g, lambda g: 0 * g, lambda g: g / 3, lambda g: g[None]],
    ids=["sign", "zeros", "divided by N", "shape"],
)
def test_a_wrong_gradient_is_refuted(item: Item, mistake: Callable) -> None:
    found = wrong(item, mistake)

    assert not found.certified
    assert found.digits < 1
    assert "WRONG" in found.note


def test_the_digits_asked_for_decide() -> None:
    case = layer_case(Tanh(), RNG(0).normal(size=(2, 3)))

    def backward(dout: Any, cache: Any) -> tuple:
        return tuple(g * (1 + arb(1e-60)) for g in case.backward(dout, cache))

    for digits, certified in ((50, True), (59, True), (61, False)):
        found = certify(case.forward, backward, case.inputs, digits=digits)

        assert found.certified is certified
        assert 59.9 < found.digits < 60.1


def test_one_wrong_element_is_named() -> None:
    item = chosen(["Linear"])[0]

    def mistake(g: Any) -> Any:
        g = g.copy()
        if g.shape == (3, 4):
            g[1, 2] = g[1, 2] * (1 + arb(TINY))
        return g

    assert "[1, 2] is" in wrong(item, mistake).note


class WrongSigmoid(Sigmoid):
    def backward(self, grad_output: Any, cache: Any) -> Any:
        return (grad_output * cache.y * (1 + cache.y),), {}


class NoMean(MSELoss):
    def backward(self, grad_output: Any, cache: Any) -> Any:
        return (2 * grad_output * cache.d,), {}


@pytest.mark.parametrize(
    "case",
    [
        layer_case(WrongSigmoid(), RNG(0).normal(size=(2, 3))),
        layer_case(NoMean(), RNG(0).normal(size=(2, 3)), RNG(1).normal(size=(2, 3))),
    ],
    ids=["σ(1 + σ)", "without 1/N"],
)
def test_wrong_derivations_are_refuted(case: GradientCase) -> None:
    found = case.certify(256, 50, 0)

    assert not found.certified
    assert found.digits < 1.5
    assert "WRONG: " in found.note


def test_more_bits_give_more_digits() -> None:
    x = {"x": RNG(0).normal(size=(2, 3))}
    case = layer_case(Tanh(), x["x"])

    digits = [certify(case.forward, case.backward, case.inputs, bits=b).digits for b in (200, 600)]

    assert 50 < digits[0] < 60
    assert 170 < digits[1] < 181


def test_too_few_bits_are_told_from_a_mistake() -> None:
    found = layer_case(Tanh(), np.full((1, 1), 20.0)).certify(180, 50, 0)

    assert not found.certified
    assert "use more bits" in found.note
    assert "WRONG" not in found.note


def test_many_elements_are_certified_along_random_directions() -> None:
    case = layer_case(Tanh(), RNG(0).normal(size=(50, 41)))

    found = certify(case.forward, case.backward, case.inputs)
    bad = certify(
        case.forward,
        lambda d, c: tuple(g * (1 + arb(TINY)) for g in case.backward(d, c)),
        case.inputs,
    )

    assert found.certified
    assert not found.elementwise
    assert 29 < bad.digits < 31


def test_a_tie_at_the_tested_point_is_stated_not_passed_over() -> None:
    case = layer_case(ReLU(), np.zeros((1, 2)))
    item = Item("ReLU at 0", "activation", "ReLU", lambda rng: case)

    found = item.certify(256, 50, 0)

    assert not found.certified
    assert "cannot be decided" in found.note


# ── branch points ────────────────────────────────────────────────────────────────────────────────
def at_zero(layer: Any, x: float = 0.0) -> Any:
    case = layer_case(layer, np.ones(1))
    return at_branch(case.forward, case.backward, {"x": np.array([x])}, "x = 0", 50)


class Relu(ReLU):
    """ReLU that takes another slope at 0."""

    def __init__(self, slope: float) -> None:
        self.slope = slope

    def backward(self, grad_output: Any, cache: Any) -> Any:
        return (grad_output * np.where(cache.y == 0, self.slope, cache.y > 0),), {}


@pytest.mark.parametrize("slope", [0.0, 0.5, 1.0])
def test_at_a_kink_any_slope_between_the_sides_is_allowed_and_named(slope: float) -> None:
    found = at_zero(Relu(slope))

    assert found.certified
    assert found.note == f"x = 0: kink, slopes 0 | 1, backward takes {slope:g}"


@pytest.mark.parametrize("slope", [-1.0, 1 + 2.0**-40, 2.0])
def test_at_a_kink_a_slope_beyond_the_sides_is_wrong(slope: float) -> None:
    found = at_zero(Relu(slope))

    assert not found.certified
    assert "WRONG" in found.note


class SigmoidAtZero(Sigmoid):
    """Right everywhere but at 0."""

    def backward(self, grad_output: Any, cache: Any) -> Any:
        (dx,), params = super().backward(grad_output, cache)
        return (np.where(cache.y == 0.5, 0.2, dx),), params


def test_where_the_sides_agree_backward_must_too() -> None:
    assert at_zero(Sigmoid()).note == "x = 0: no kink"
    assert at_zero(Sigmoid()).certified
    assert not at_zero(SigmoidAtZero()).certified


def test_a_branch_point_that_is_none_is_not_certified() -> None:
    assert "no comparison is tied" in at_zero(ReLU(), 0.5).note
    assert not at_zero(ReLU(), 0.5).certified


def test_a_step_of_the_function_is_told() -> None:
    notes = {item.name: item.certify(256, 50, 0).note for item in chosen(["Softplus"])}

    assert "a step of 2.1e-09" in notes["Softplus()"]


# ── optimisers ───────────────────────────────────────────────────────────────────────────────────
def misdefined(item: Item, change: Callable[[dict], dict]) -> Certificate:
    """Certify an optimiser whose own settings are changed, beside the right definition."""
    found = []
    for k in range(3):
        case = item.case(RNG([0, k]))
        assert isinstance(case, DefinitionCase)
        original = optimizer_items.settings
        calls = itertools.count()

        def settings(optimizer: Any, original: Any = original, calls: Any = calls) -> dict:
            right = original(optimizer)
            return change(right) if next(calls) == 0 else right  # first the formula's

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(optimizer_items, "settings", settings)
            found.append(case.certify(256, 50, 0))
    return min(found, key=lambda c: c.digits)


SHIFTED = {
    "SGD": "weight_decay", "ASGD": "lambd", "Adafactor": "beta2_decay", "Muon": "momentum",
    "RAdam": "weight_decay",
}  # fmt: skip


def shifted(value: Any) -> Any:
    """Return a setting off by 1e-30, as each of a pair."""
    return tuple(map(shifted, value)) if isinstance(value, tuple) else value + arb(TINY)


@pytest.mark.parametrize(
    "item", [i for i in OPTIMIZERS if i.group != "LBFGS"], ids=lambda item: item.name
)
def test_an_optimiser_with_a_setting_off_by_1e_30_is_not_certified(item: Item) -> None:
    names = {"Rprop": ("etas", "step_sizes")}.get(item.group, (SHIFTED.get(item.group, "eps"),))

    found = misdefined(item, lambda s: s | {name: shifted(s[name]) for name in names})

    assert 15 < found.digits < 45
    assert "WRONG: " in found.note


MISTAKES: dict[str, dict[str, Any]] = {
    "SGD(momentum=0.75, nesterov=True, weight_decay=0.25)": {"nesterov": False},
    "SGD(momentum=0.75, dampening=0.25, weight_decay=0.25)": {"dampening": 0.0},
    "RMSprop(centered=True)": {"centered": False},
    "Adam()": {"betas": (0.9, 0.99)},
    "Adam(amsgrad=True, weight_decay=0.125)": {"weight_decay": 0.0},
    "LBFGS()": {"history_size": 2},
    "Muon(ns_steps=3)": {"nesterov": False},
    "SparseAdam()": {"maximize": True},
    "RAdam()": {"betas": (0.9, 0.99)},
    "NAdam()": {"momentum_decay": 0.5},
}


@pytest.mark.parametrize("name", MISTAKES)
def test_an_optimiser_with_a_wrong_setting_is_refuted(name: str) -> None:
    (item,) = (i for i in OPTIMIZERS if i.name == name)

    found = misdefined(item, lambda s: s | MISTAKES[name])

    assert not found.certified
    assert found.digits < 5


@pytest.mark.parametrize(
    ("name", "definition"),
    [
        ("AdamW", definitions.adam),  # coupled for decoupled decay
        ("Adam", definitions.adamw),
    ],
)
def test_coupled_and_decoupled_decay_are_told_apart(name: str, definition: Any) -> None:
    (item,) = (i for i in OPTIMIZERS if i.name == f"{name}(amsgrad=True, weight_decay=0.125)")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(optimizer_items, "definition_of", lambda _: definition)
        found = item.certify(256, 50, 0)

    assert not found.certified
    assert "WRONG" in found.note


def test_a_missing_state_is_told() -> None:
    case = DefinitionCase(
        lambda: {"param": balls(np.ones(1))},
        lambda: {"param": balls(np.ones(1)), "sum": balls(np.ones(1))},
        "",
    )

    assert not case.certify(256, 50, 0).certified
    assert "only one of the two has sum" in case.certify(256, 50, 0).note


# ── table and command ────────────────────────────────────────────────────────────────────────────
app = typer.Typer()
app.command()(command)


def run(*args: str) -> Any:
    return CliRunner().invoke(app, list(args))


def test_the_command_prints_a_row_per_item_as_json() -> None:
    result = run("ReLU", "Adam", "--json", "--digits", "60")
    data = json.loads(result.stdout)

    assert result.exit_code == 0
    assert data["rows"][0]["name"] == "ReLU()"
    assert all({"name", "digits", "radius", "note"} <= row.keys() for row in data["rows"])
    assert data["bits"] == 256
    assert data["certified"] is True


def test_the_command_fails_when_a_row_is_not_certified() -> None:
    result = run("Tanh", "--bits", "180", "--digits", "54")

    assert result.exit_code == DISAGREE
    assert "0 of 1 certified" in result.stdout


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["Relu"], "Did you mean 'ReLU'"),
        (["--bits", "100"], "do not fit"),
        (["--bits", "5000"], "from 64 to 1000"),
        (["--digits", "0"], "do not fit"),
    ],
)
def test_unusable_arguments_are_a_users_mistake(args: list[str], message: str) -> None:
    result = run(*args)

    assert isinstance(result.exception, UserError)
    assert message in str(result.exception)


def test_the_table_goes_into_a_new_file_or_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    assert run("ReLU", "--markdown", str(page), "-q").exit_code == 0
    page.write_text("before\n" + page.read_text("utf-8") + "after\n", "utf-8")
    assert run("Tanh", "--markdown", str(page), "-q").exit_code == 0

    text = page.read_text("utf-8")

    assert text.startswith("before\n<!-- certificates: begin -->\n1 of 1 certified")
    assert text.endswith("<!-- certificates: end -->\nafter\n")
    assert "| `Tanh()` | " in text
    assert "ReLU" not in text


def test_a_page_without_a_place_for_the_table_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("mine", "utf-8")

    result = run("ReLU", "--markdown", str(page))

    assert isinstance(result.exception, UserError)
    assert page.read_text("utf-8") == "mine"
    assert isinstance(run("ReLU", "--markdown", str(tmp_path / "no" / "x.md")).exception, UserError)


def test_markdown_keeps_its_columns() -> None:
    found = rows.certificates(["ReLU", "L1Loss"])
    table = rows.markdown(found)

    lines = [line for line in table.splitlines() if line.startswith("| `")]
    assert len(lines) == len(found.rows) > 2
    assert all(line.replace(r"\|", "").count("|") == 5 for line in lines)


def test_a_row_that_is_not_certified_is_marked() -> None:
    bad = rows.row("x", "layer", Certificate(3.14159, float("inf"), False, "WRONG"))
    found = rows.Certificates((bad,), 256, 50, 0)

    assert bad.digits == 3.1
    assert not found.certified
    assert "**not certified**: WRONG" in rows.markdown(found)
    assert json.loads(json.dumps(found.as_dict()))["rows"][0]["radius"] is None


def test_nothing_certified_is_no_success() -> None:
    assert not rows.Certificates((), 256, 50, 0).certified


def test_the_documented_table_has_every_item() -> None:
    page = Path(__file__).parents[3] / "docs" / "certificates.md"
    text = page.read_text("utf-8")

    assert [item.name for item in ITEMS if f"| `{item.name}` |" not in text] == []
    assert "not certified**" not in text


def test_the_documented_example_runs() -> None:
    page = Path(__file__).parents[3] / "docs" / "certificates.md"
    (example,) = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), flags=re.DOTALL)

    exec(compile(example, str(page), "exec"), {})
