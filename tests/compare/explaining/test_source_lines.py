"""The lines that are shown are the real ones, and those that matter are marked."""

from __future__ import annotations

import inspect
from functools import partial

import numpy as np

from compare.explaining.source_lines import Listing, executed, sliced
from manual.linear import Linear
from manual.losses import CrossEntropyLoss
from manual.maxout import Maxout
from manual.optimizers import SGD, Adam, RMSprop


def marked(listing: Listing) -> str:
    return "\n".join(text.strip() for _, text, on in listing.lines if on)


def test_each_parameter_s_gradient_marks_its_own_lines() -> None:
    weight, bias = (marked(sliced(Linear.grad_params, f"grad:{p}")[0]) for p in ("weight", "bias"))

    assert 'grads = {"weight": dy.T @ x}  # (O, I)' in weight
    assert "x = _rows(cache.x, self.in_features)" in weight
    assert "dy.sum" not in weight
    assert 'grads["bias"] = dy.sum(axis=0)  # (O,)' in bias
    assert "x = _rows(cache.x)" not in bias


def test_the_update_and_its_state_mark_different_lines() -> None:
    param, state = (marked(sliced(RMSprop.update, r)[0]) for r in ("param", "state:square_avg"))

    assert "new += param" in param
    assert "new += param" not in state
    assert "self._root(g, state, out)" in state


def test_lines_carry_their_numbers_in_the_file() -> None:
    listing, _ = sliced(SGD.update, "param")
    lines = inspect.getsource(inspect.getmodule(SGD)).splitlines()  # type: ignore[arg-type]

    assert listing.file == "manual/optimizers/sgd.py"
    assert all(lines[n - 1] == "    " + text for n, text, _ in listing.lines if text)


def test_docstrings_and_refusals_are_left_out() -> None:
    text = "\n".join(text for _, text, _ in sliced(Linear.forward, "output")[0].lines)

    assert "raise ValueError" not in text
    assert '"""' not in text
    assert "y = x @ self.params" in text


def test_helpers_are_named_for_the_reader_to_follow() -> None:
    assert "self._grad_pieces" in sliced(Maxout.backward, "grad_input")[1]
    assert "adaptive_step" in sliced(Adam.update, "param")[1]


def test_a_branch_that_did_not_run_is_not_marked() -> None:
    plain, smoothed = CrossEntropyLoss(), CrossEntropyLoss(label_smoothing=0.1)
    scores, labels = np.eye(3), np.array([0, 1, 2])
    texts = []
    for loss in (plain, smoothed):
        cache = loss.forward(scores, labels)[1]
        ran = executed(partial(loss.backward, np.ones(()), cache))
        texts.append(marked(sliced(CrossEntropyLoss.backward, "grad_input")[0].taken(ran)))

    assert "grad = p.copy()" in texts[0]
    assert "self._targets" not in texts[0]
    assert "grad = p.copy()" not in texts[1]
    assert "self._targets" in texts[1]


def test_code_that_raises_leaves_the_lines_that_ran() -> None:
    layer = Linear(3, 2)

    def broken() -> None:
        layer.forward(np.ones((1, 4)))

    assert {file for file, _ in executed(broken)} == {"manual/linear.py"}
