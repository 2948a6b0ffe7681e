"""The mistakes: each operator plants the one it is named after, and in formulas only."""

from __future__ import annotations

import ast

import pytest

from evidence.mutation import equivalent, sources
from evidence.mutation.operators import OPERATORS, found_in, recipes
from evidence.mutation.scope import scopes
from evidence.mutation.tree import applied, without_descriptions, without_docstrings

MANY = 500  # what a score must rest on, at least


def planted(source: str, operator: str | None = None) -> list[str]:
    """Return the source with each mistake of an operator (of all) in it, one at a time."""
    tree = without_docstrings(ast.parse(source))
    original, found = ast.unparse(tree), []
    for scope in scopes(tree):
        for name, _, edits in found_in(scope):
            if operator in (None, name):
                with applied(edits):
                    found.append(ast.unparse(tree))
    assert ast.unparse(tree) == original
    return found


def function(*lines: str, arguments: str = "x, y, n") -> str:
    return "\n    ".join([f"def f({arguments}):", *lines])


LAYER = """
class C(NamedTuple):
    x: Array
    y: Array

class L(Layer):
    def forward(self, x):
        y = np.tanh(x)
        return y, CCache(x, y)

    def backward(self, grad_output, cache: C):
        return grad_output * cache.y
"""


@pytest.mark.parametrize(
    ("operator", "right", "wrong"),
    [
        ("term", "x * y + n", "x * y"),
        ("term", "x * y + n", "x + n"),
        ("term", "x - y", "-y"),
        ("term", "x / y", "x"),
        ("term", "x ** n", "x"),
        ("sign", "x + y", "x - y"),
        ("sign", "x - y", "y - x"),
        ("sign", "-x", "x"),
        ("inverse", "x * y", "x / y"),
        ("inverse", "x / y", "x * y"),
        ("function", "np.exp(x)", "np.expm1(x)"),
        ("function", "np.log1p(x)", "np.log(x)"),
        ("function", "np.sqrt(x)", "x"),
        ("function", "sigmoid(x)", "x"),
        ("function", "x.copy()", "x"),
        ("extremum", "np.maximum(x, 0)", "np.minimum(x, 0)"),
        ("extremum", "x.argmax(axis=0)", "x.argmin(axis=0)"),
        ("transpose", "x.T @ y", "x @ y"),
        ("transpose", "x @ y", "y @ x"),
        ("transpose", "x @ y", "x @ y.T"),
        ("sum", "x.sum(axis=0)", "x"),
        ("sum", "np.sum(x)", "x"),
        ("sum", "x.sum(axis=0)", "x.mean(axis=0)"),
        ("axis", "x.sum(axis=0)", "x.sum(axis=-1)"),
        ("axis", "x.max(axis=self.dim, keepdims=True)", "x.max(axis=0, keepdims=True)"),
        ("axis", "x.sum(axis=n, keepdims=True)", "x.sum(axis=n)"),
        ("axis", "np.concatenate(x, axis=self.dim)", "np.concatenate(x, axis=0)"),
        ("reduction", "self.reduced(x, n)", "x"),
        ("count", "x / len(y)", "x / (len(y) - 1)"),
        ("count", "x / y.size", "x / y.shape[0]"),
        ("constant", "0.01 * x", "0.1 * x"),
        ("constant", "1.0 * x", "0.5 * x"),
        ("constant", "x ** 2", "x ** 3"),
        ("boundary", "x > 0", "x >= 0"),
        ("boundary", "x <= y", "x < y"),
        ("condition", "x > 0", "x < 0"),
        ("condition", "x is None", "x is not None"),
        ("condition", "x and y", "x or y"),
        ("condition", "~x", "x"),
        ("branch", "x if n else y", "y"),
        ("branch", "np.where(n, x, y)", "np.where(n, y, x)"),
        ("branch", "blend(n, x, y)", "y"),
        ("order", "list(reversed(x))", "list(x)"),
        ("variable", "x * x", "x * y"),
        ("epsilon", "np.maximum(x, EPS)", "x + EPS"),
        ("method", "lr * self.weight_decay", "self.weight_decay"),
    ],
)
def test_an_operator_plants_its_mistake_in_an_expression(
    operator: str, right: str, wrong: str
) -> None:
    assert function(f"return {wrong}") in planted(function(f"return {right}"), operator)


@pytest.mark.parametrize(
    ("operator", "right", "wrong"),
    [
        ("term", ["x *= y", "return x"], ["pass", "return x"]),
        ("sign", ["x += y", "return x"], ["x -= y", "return x"]),
        ("inverse", ["x *= y", "return x"], ["x /= y", "return x"]),
        ("accumulate", ["x += y", "return x"], ["x = y", "return x"]),
        ("branch", ["if n:", "    x = y", "return x"], ["if False:", "    x = y", "return x"]),
        ("branch", ["if n:", "    x = y", "return x"], ["if True:", "    x = y", "return x"]),
        ("order", ["x = x + y", "y = x * n"], ["y = x * n", "x = x + y"]),
        ("epsilon", ["r = np.sqrt(x)", "r += n"], ["r = np.sqrt(x + n)", "pass"]),
    ],
)
def test_an_operator_plants_its_mistake_in_statements(
    operator: str, right: list[str], wrong: list[str]
) -> None:
    assert function(*wrong) in planted(function(*right), operator)


def test_lines_of_which_any_order_will_do_are_not_exchanged() -> None:
    independent = function("a = x + 1", "b = y + 1")
    two_terms = function("x += y", "x += n")

    assert planted(independent, "order") == planted(two_terms, "order") == []


@pytest.mark.parametrize("factor", ["2", "0.5", "len(grad_output)"])
def test_results_are_scaled_by_two_by_half_and_by_the_batch(factor: str) -> None:
    source = "def backward(grad_output) -> tuple[Array]:\n    return ({value},), {{}}"

    changed = planted(source.format(value="grad_output * y"), "factor")

    scaled = f"{factor} * (grad_output * y)"
    assert ast.unparse(ast.parse(source.format(value=scaled))) in changed


def test_cache_fields_are_mixed_up_with_each_other_and_the_upstream_gradient() -> None:
    changed = planted(LAYER, "variable")

    assert any("return grad_output * cache.x" in text for text in changed)
    assert any("return grad_output * grad_output" in text for text in changed)
    assert any("return (y, CCache(x, x))" in text for text in changed)


def test_a_stale_cache_is_the_first_one_or_the_latest() -> None:
    first, latest = planted(LAYER, "stale")

    assert "return (y, self.__dict__.setdefault('first', CCache(x, y)))" in first
    assert "self.__dict__.update(latest=CCache(x, y))" in latest
    assert "cache = self.latest" in latest


def test_an_optimiser_forgets_its_state() -> None:
    source = "class O:\n\n    def update(self, state):\n        return (p, {'b': b})"

    assert planted(source, "stale") == [source.replace("{'b': b}", "state")]


def test_decay_goes_through_the_averages_and_is_left_out_of_the_step() -> None:
    step = "g = self.direction(param, grad)", "new = self.shrunk(param, lr)", "return new - g"

    through, left_out = sorted(planted(function(*step), "method"), key=len, reverse=True)

    assert "g = grad + self.weight_decay * param" in through
    assert "new = param" in through
    assert "g = self.direction(param, grad)" in left_out
    assert "new = param" in left_out


def test_every_recipe_fits_into_the_source() -> None:
    held = [recipes.texts(scope) for name in sources.modules()
            for scope in scopes(sources.tree(name))]  # fmt: skip

    idle = [
        name
        for name, recipe in recipes.RECIPES.items()
        if not any(list(recipes.planted(texts, recipe)) for texts in held)
    ]

    assert idle == []


@pytest.mark.parametrize(
    "source",
    [
        '"""x + y"""',
        'def f(x):\n    """Return -x + 1."""\n    return x',
        "def f(x: Array = None) -> tuple[int, 2]:\n    return x",
        "@dataclass(frozen=True)\nclass C:\n    x: Array",
        "def f(x):\n    if x > 1:\n        raise ValueError(x + 1)\n    return x",
        "def f(x):\n    text = 'a' * x\n    if x:\n        raise ValueError(text)\n    return x",
        "def f(x):\n    bad = [r for r in x if r < 0]\n    if bad:\n        raise E(bad)",
        "def f(x):\n    check_alike(x, 1 + 2)\n    return x",
        "def check(x):\n    y = x + 1\n    if y > 2:\n        raise ValueError(y)",
        "def extra_repr(self):\n    return 'a' + self.b",
        "def f(x):\n    if g(x):\n        raise E\n    return x\n\ndef g(x):\n    return x > 1",
        "def f(x):\n    try:\n        return g()\n    except E:\n        raise F(x + 1)",
        "__all__ = ['A']\nArray = Callable[..., 1]\nT = ('a', 'b')",
        "def f(x):\n    return tuple(zip(x, x, strict=True))",
        "def f(x):\n    return x.reshape(-1)",
    ],
)
def test_nothing_is_planted_outside_formulas(source: str) -> None:
    assert planted(source) == []


def test_defaults_and_constants_are_formulas() -> None:
    assert "def f(x, a=0.1):\n    return x" in planted("def f(x, a=0.01):\n    return x")
    assert "class C:\n    lr: float = 0.0005" in planted("class C:\n    lr: float = 1e-3")
    assert "C = 0.0223575" in planted("C = 0.044715")


def test_a_mutant_is_its_diff() -> None:
    for mutant in sources.mutants("manual.linear"):
        assert mutant.before != mutant.after
        assert mutant.diff.startswith("-")
        assert mutant.path == "manual/linear.py"


def test_there_are_mutants_of_every_kind() -> None:
    seen: set[str] = set()
    total = 0
    for name in sorted(sources.modules(), key=lambda name: name[::-1]):  # some of every folder
        found = sources.mutants(name)
        seen, total = seen | {mutant.operator for mutant in found}, total + len(found)
        if seen == set(OPERATORS) and total >= MANY:
            break

    assert seen == set(OPERATORS)
    assert total >= MANY


STALE = "manual/ has changed: run `handgrad mutate` and review the list of equivalents"


def lines_of(module: str) -> set[str]:
    tree = sources.tree(module)
    return {line.strip() for line in ast.unparse(tree).split("\n")}


def test_the_reviewed_list_is_of_lines_that_stand_there() -> None:
    """All mutants of all modules take most of a minute: of every twelfth module alone."""
    marked = equivalent.equivalents()
    names = sorted({entry.module for entry in marked})
    standing = {name: lines_of(name) for name in names}
    few = tuple(entry for entry in marked if entry.module in names[::12])

    gone = [e[:3] for e in marked if not set(e.before.split("\n")) <= {"", *standing[e.module]}]
    assert gone == [], STALE
    idle = equivalent.idle(few, [m for name in names[::12] for m in sources.mutants(name)])
    assert idle == [], STALE
    assert all(e.reason.endswith(".") for e in marked)


def test_what_only_descriptions_import_is_gone_with_them() -> None:
    source = "from m import FIRST, two\n\nclass A:\n    examples = (FIRST,)\n    x = two\n"

    assert "FIRST" not in ast.unparse(without_descriptions(ast.parse(source)))
    assert "from m import two" in ast.unparse(without_descriptions(ast.parse(source)))
