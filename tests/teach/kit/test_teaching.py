"""The helpers that lessons import: each must refuse what is not so."""

from __future__ import annotations

import gettext
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import manual
from teach.kit import (
    code_diff,
    code_of,
    drawing_of,
    gauged,
    grad_fn_chain,
    grad_fn_table,
    gradients,
    same,
    same_all,
    table,
    torch_gradients,
)
from teach.kit.show import Shown

X = np.random.default_rng(0).normal(size=(5, 3))


def product(x: np.ndarray) -> np.ndarray:
    return x.T @ x


def by_hand(x: np.ndarray, dy: np.ndarray) -> np.ndarray:
    dx = dy * 2
    return dx


def test_same_without_an_error_is_bit_for_bit() -> None:
    same("x", X, torch.tensor(X))

    with pytest.raises(AssertionError, match=r"x: .* at \(\d, \d\)"):
        same("x", X, np.nextafter(X, 9))


def test_same_allows_rounding_and_no_more(capsys: pytest.CaptureFixture) -> None:
    error = gauged(product, X)
    same("xᵀx", product(X), np.einsum("ni,nj->ij", X, X) * (1 + 1e-15), error)

    assert "of what rounding allows" in capsys.readouterr().out
    with pytest.raises(AssertionError, match="rounding allows"):
        same("xᵀx", product(X), product(X) * (1 + 1e-11), error)


@pytest.mark.parametrize("wrong", [np.full((5, 3), np.nan), X[:4], X * 0])
def test_same_refuses_nan_other_shapes_and_zeros(wrong: np.ndarray) -> None:
    with pytest.raises(AssertionError):
        same("x", wrong, X)


def test_same_refuses_what_zeros_would_pass_unless_told() -> None:
    with pytest.raises(AssertionError, match="shows nothing"):
        same("nothing", X * 0, X * 0)
    same("nothing", X * 0, X * 0, zero=True)

    with pytest.raises(AssertionError):
        same("nothing", X, X * 0, zero=True)


def test_same_all_wants_the_same_keys_and_at_least_one() -> None:
    same_all({"a": X}, {"a": X})

    with pytest.raises(AssertionError, match="compared"):
        same_all({"a": X}, {"b": X})
    with pytest.raises(AssertionError, match="nothing"):
        same_all({}, {})
    with pytest.raises(AssertionError, match="b: "):
        same_all({"a": X, "b": X}, {"a": X, "b": -X}, name="two")


def test_an_error_that_is_no_gauge_is_refused() -> None:
    with pytest.raises(TypeError, match="gauged"):
        same("x", X, X, 1e-3)


def test_code_diff_shows_both_sides_and_refuses_equal_code(capsys: pytest.CaptureFixture) -> None:
    code_diff(product, by_hand, names=("old", "new"))

    text = capsys.readouterr().out
    assert "-    return x.T @ x" in text
    assert "+    dx = dy * 2" in text
    assert "2 lines out, 3 in" in text
    with pytest.raises(ValueError, match="same code"):
        code_diff(product, product)


def test_code_of_another_lesson_is_found_by_name() -> None:
    assert code_of("08_students", "backward", "sigmoid").startswith("def backward(X, Y")

    with pytest.raises(ValueError, match="backwards"):
        code_of("08_students", "backwards")


def doubled() -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.tensor(X, requires_grad=True)
    return x, (x * 2).sum()


def test_the_chain_is_in_the_engines_order_with_shared_nodes_once() -> None:
    x = torch.tensor(X, requires_grad=True)
    h = torch.tanh(x)
    loss = (h * h + h).sum()

    names = [step.name.removesuffix("Backward0") for step in grad_fn_chain(loss, {"x": x})]
    assert names == ["Sum", "Add", "Mul", "Tanh", "AccumulateGrad"]
    assert grad_fn_chain(loss, {"x": x})[-1].leaf == "x"


def test_the_grad_fn_table_holds_the_lines_to_the_source(capsys: pytest.CaptureFixture) -> None:
    x, loss = doubled()
    pairs = [("Sum", "(ones)"), ("Mul", "dx = dy * 2"), ("AccumulateGrad", "return dx")]
    grad_fn_table(loss, by_hand, pairs, {"x": x})

    assert "MulBackward0" in capsys.readouterr().out
    with pytest.raises(AssertionError, match="not in the source"):
        grad_fn_table(loss, by_hand, [pairs[0], ("Mul", "dx = dy * 3"), pairs[2]])
    with pytest.raises(AssertionError, match="autograd recorded"):
        grad_fn_table(loss, by_hand, pairs[:2])


def test_a_constant_has_no_chain() -> None:
    with pytest.raises(ValueError, match="no grad_fn"):
        grad_fn_chain(torch.ones(3))


def test_both_sides_of_a_network_and_a_planted_mistake() -> None:
    graph = manual.Sequential(manual.Linear(3, 2), manual.Tanh())
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Tanh())
    params = {"0.weight": X[:2].copy(), "0.bias": X[0, :2].copy()}
    arguments = graph, manual.MSELoss(), params, X, X[:, :2].copy()
    ours, errors = gradients(*arguments), gauged(gradients, *arguments)
    theirs = torch_gradients(model, torch.nn.MSELoss(), *arguments[2:])

    same_all(ours, theirs, errors)
    with pytest.raises(AssertionError, match=r"0\.bias"):
        same_all(ours | {"0.bias": ours["0.bias"] * 1.000001}, theirs, errors)


def test_a_drawing_has_the_themes_colours_on_the_site_and_fixed_ones_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: list[Shown] = []
    monkeypatch.setattr(sys.modules["teach.kit.figure"], "show", shown.append)
    drawing_of('<?xml version="1.0"?><svg><rect fill="var(--ink)"/></svg>', "a <box>")

    faces = shown[0]._repr_mimebundle_()
    assert 'fill="var(--ink, #1b1f24)"' in faces["text/html"]
    assert "a &lt;box&gt;" in faces["text/html"]
    assert "<?xml" not in faces["text/html"]
    assert faces["text/plain"] == "[figure: a <box>]"


def test_a_table_is_text_in_a_script(capsys: pytest.CaptureFixture) -> None:
    table({"name": ["`a`", "bb"], "value": [1.5, 22.0]})

    assert capsys.readouterr().out == "name  value\na       1.5\nbb       22\n"


def test_a_table_takes_numpys_and_torchs_numbers_and_columns_of_one_length(
    capsys: pytest.CaptureFixture,
) -> None:
    table({"a": torch.tensor([0.5, 2.0]), "b": np.zeros(2)})

    assert capsys.readouterr().out == "  a  b\n0.5  0\n  2  0\n"
    with pytest.raises(ValueError, match="shorter"):
        table({"a": [1, 2], "b": [1]})


def test_importing_the_kit_costs_none_of_the_large_libraries() -> None:
    code = (
        "import sys, teach.kit; print({'torch', 'pandas', 'matplotlib', 'scipy'} & {*sys.modules})"
    )
    command = [sys.executable, "-c", code]

    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "set()\n"


def test_what_is_printed_is_in_the_readers_language(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    babel = pytest.importorskip("babel.messages", reason="the docs extra is not installed")
    from babel.messages import mofile

    catalog = babel.Catalog("vi")
    catalog.add("bit for bit", "đúng từng bit")
    (tmp_path / "vi" / "LC_MESSAGES").mkdir(parents=True)
    with (tmp_path / "vi" / "LC_MESSAGES" / "handgrad.mo").open("wb") as file:
        mofile.write_mo(file, catalog)
    here = gettext.bindtextdomain("handgrad")
    gettext.bindtextdomain("handgrad", str(tmp_path))
    monkeypatch.setenv("LANGUAGE", "vi")
    try:
        same("x", X, X)
    finally:
        gettext.bindtextdomain("handgrad", here)

    assert "đúng từng bit" in capsys.readouterr().out
