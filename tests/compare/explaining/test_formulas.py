"""The little language: parsed, never executed; evaluated and printed from one tree."""

from __future__ import annotations

import numpy as np
import pytest

from compare.explaining.equations import Equation, mathml, symbols
from compare.explaining.evaluate import Env, bind, definition
from compare.explaining.language import parse
from compare.explaining.render import Latex, Numbers, Plain

X = np.arange(6.0).reshape(2, 3) + 1
T = np.array([2, 0])


def value(text: str, env: Env, **scope: int) -> float:
    return float(env.value(parse(text), dict(scope)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sum(i, x[n,i])", 15.0),
        ("prod(i, x[n,i])", 120.0),
        ("largest(i, x[n,i])", 6.0),
        ("sum(i, i != t[n], x[n,i])", 11.0),
        ("x[n,t[n]]", 4.0),
        ("(0 == t[n]) + (x[n,0] > 5)", 1.0),
        ("cases(x[n,0] > 5, 1, -x[n,1]**2)", -25.0),
        ("max(x[n,0], 4.5) / c", 2.25),
        ("sum(n, sum(i, x[n,i]))", 21.0),
        ("x[n,i - 1]", 5.0),
    ],
)
def test_a_formula_gives_what_it_says(text: str, expected: float) -> None:
    assert value(text, Env({"x": X, "t": T}, {"c": 2}), n=1, i=2) == expected


def test_the_first_index_stands_for_all_leading_axes() -> None:
    x, scope = np.arange(24.0).reshape(2, 3, 4), bind(("n", "i"), (1, 2, 3))
    env = Env({"x": x})

    assert scope == {"n": (1, 2), "i": 3}
    assert float(env.value(parse("x[n,i]"), scope)) == x[1, 2, 3]
    assert value("sum(n, x[n,i])", env, i=3) == x[..., 3].sum()
    assert value("sum(j, x[j])", env) == x.sum()
    assert bind(("n", "i"), (3,)) == {"n": (), "i": 3}


def test_definitions_are_worked_from_the_rest_and_may_use_each_other() -> None:
    names = dict(map(definition, ["p[n,k] = e[n,k] / sum(j, e[n,j])", "e[n,k] = exp(x[n,k])"]))
    expected = np.exp(X[1] - X[1].max())

    found = [value("p[n,k]", Env({"x": X + 1000}, {}, names), n=1, k=k) for k in range(3)]

    assert found == pytest.approx(expected / expected.sum())


def test_nothing_overflows_and_a_pole_is_infinite() -> None:
    env = Env({"x": np.array([900.0])})

    assert value("log(exp(x[i]))", env, i=0) == 900.0
    assert value("1 / (x[i] - 900)", env, i=0) == np.inf
    assert np.isnan(value("0 / (x[i] - 900)", env, i=0))


@pytest.mark.parametrize(
    "text", ["__import__('os')", "x.T", "[x for x in y]", "lambda: 1", "f(x)", "x if y else z"]
)
def test_what_is_not_of_the_language_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="formula"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "plain", "latex"),
    [
        ("dy[n,o] * W[o,i]", "δ[n,o]·W[o,i]", r"\delta_{no} \, W_{oi}"),
        ("dW[o,i]", "∂L/∂W[o,i]", r"\frac{\partial L}{\partial W_{oi}}"),
        ("(a + b) * c", "(a + b)·c", r"\left( a + b \right) \, c"),
        ("a - (b - c)", "a − (b − c)", r"a - \left( b - c \right)"),
        ("a / (b * c)", "a / (b·c)", r"\frac{a}{b \, c}"),
        ("(a / b)**2", "(a / b)²", r"\left( \frac{a}{b} \right)^{2}"),
        ("sum(n, a + b)", "Σ_n (a + b)", r"\sum_{n} \left( a + b \right)"),
        ("sqrt(v[i])", "√v[i]", r"\sqrt{v_{i}}"),
        ("z[n,t[n]]", "z[n,t[n]]", "z_{n, t_{n}}"),
    ],
)
def test_one_tree_prints_as_unicode_and_as_latex(text: str, plain: str, latex: str) -> None:
    assert Plain(symbols()).text(parse(text)) == plain
    assert Latex(symbols()).text(parse(text)) == latex


def test_a_long_sum_shows_its_first_terms_that_are_not_zero_and_its_last() -> None:
    x = np.array([0.0, 1, 2, 3, 4, 5, 6])
    numbers = Numbers(symbols(), Env({"x": x}))

    assert numbers.text(parse("2 * sum(i, x[i] * x[i])")) == "2·(1·1 + 2·2 + 3·3 + … + 6·6)"
    assert numbers.counts == [7]


def test_numbers_are_bracketed_where_a_sign_would_mislead() -> None:
    numbers = Numbers(symbols(), Env({}, {"a": -2.0, "b": 3.0}))

    assert numbers.text(parse("b - a")) == "3 − (-2)"
    assert numbers.text(parse("a**2 * b")) == "(-2)²·3"


def test_equations_become_mathml_without_a_network() -> None:
    formula = Equation("dW[o,i]", "sum(n, dy[n,o] * x[n,i])")

    assert formula.mathml()[0].count("<mfrac>") == 1
    assert "&#x02211;" in mathml(formula.latex()[0])


# ── indices that are worked out ──────────────────────────────────────────────────────────────────
PLACES = {"s": np.array([2, 1]), "x": X, "w": np.array([10.0, 100.0])}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x[n,i * 2 - 2]", 6.0),
        ("x[n,(i + 3) // 2]", 6.0),
        ("x[n,s[0] * i - s[0]]", 6.0),
        ("x[n,r[i,0]]", 6.0),
        ("size(x, -1) + size(x, 0)", 5.0),
        ("sum(k, 0 <= r[i,k] < size(x, -1), w[k] * x[n,r[i,k]])", 60.0),
        ("sum(k, 0 <= r[1,k] < size(x, -1), w[k] * x[n,r[1,k]])", 540.0),
        ("sum(k, 0 <= r[0,k] < size(x, -1), w[k] * x[n,r[0,k]])", 0.0),
        ("sum(k, 0 <= r[1,k] < H and k != 1, w[k] * x[n,r[1,k]])", 40.0),
        ("largest(k, 0 <= k < 2, x[n,k])", 5.0),
        ("x[n,reflect(-2, H)] + x[n,reflect(3, H)]", 11.0),
        ("x[n,clamp(-2, H)] + x[n,clamp(4, H)]", 10.0),
        ("x[n,wrap(-2, H)] + x[n,wrap(4, H)]", 10.0),
        ("(7 // 2) * (0 <= i < 3)", 3.0),
    ],
)
def test_an_index_may_be_worked_out_and_kept_inside(text: str, expected: float) -> None:
    names = dict(map(definition, ["r[u,k] = s[0] * u + k - 2", "H = size(x, -1)"]))

    assert value(text, Env(PLACES, {}, names), n=1, i=2) == expected


@pytest.mark.parametrize(
    ("text", "plain", "latex", "numbers"),
    [
        (
            "sum(k, 0 <= r[u,k] < H, w[k] * x[n,r[u,k]])",
            "Σ_(0 ≤ r[u,k] < H) w[k]·x[n,r[u,k]]",
            r"\sum_{0 \le r_{uk} < H} w_{k} \, x_{n, r_{uk}}",
            "10·4 + 100·5",
        ),
        (
            "largest(k, 0 <= k < H and k != 1, x[n,k])",
            "max_(0 ≤ k < H ∧ k ≠ 1) x[n,k]",
            r"\max_{0 \le k < H \wedge k \ne 1} x_{nk}",
            "max(4, 6)",
        ),
        ("x[n,u // 2]", "x[n,⌊u / 2⌋]", r"x_{n, \left\lfloor \frac{u}{2} \right\rfloor}", "4"),
        (
            "x[n,clamp(u - 2, H)] * (0 <= u < H)",
            "x[n,clamp(u − 2, H)]·[0 ≤ u < H]",
            r"x_{n, \operatorname{clamp}\left( u - 2, H \right)} \, [0 \le u < H]",
            "4·[0 ≤ 1 < 3]",
        ),
    ],
)
def test_worked_out_indices_are_printed(text: str, plain: str, latex: str, numbers: str) -> None:
    names = dict(map(definition, ["r[u,k] = s[0] * u + k - 2", "H = size(x, -1)"]))
    tree = parse(text)

    assert Plain(symbols()).text(tree) == plain
    assert Latex(symbols()).text(tree) == latex
    assert Numbers(symbols(), Env(PLACES, {}, names)).text(tree, {"n": 1, "u": 1}) == numbers


def test_an_index_that_nothing_bounds_is_refused() -> None:
    with pytest.raises(ValueError, match="says how far k goes"):
        value("sum(k, k != 1, k)", Env({"x": X}))
