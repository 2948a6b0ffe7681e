"""Mistakes planted in MultiheadAttention: every check of it rejects some."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from manual.attention import MultiheadAttention, dot_product, masks, multihead
from tests.helpers import F32, F64
from tests.manual.attention.multihead_cases import NAMES, PLAIN, case_of, made
from tests.manual.sequence_checks import (
    check_beside_torch,
    check_certified,
    check_equations,
    check_gauge,
    check_own_forward,
    check_pure,
)


def of_past(change: Callable) -> Callable:
    """Return a backward that sees another past."""

    def planted(right: Callable, do: Any, dweights: Any, past: Any) -> tuple:
        return right(do, dweights, change(past))

    return planted


def unmasked(past: Any) -> Any:
    z = past.q @ past.k.swapaxes(2, 3)
    return past._replace(softmax=dot_product.visible_softmax(z, None, 0.0))


def _unscaled(right: Callable, do: Any, dweights: Any, past: Any) -> tuple:
    dq, *rest = right(do, dweights, past)
    return dq * dq.shape[-1] ** 0.5, *rest


def _weights_lost(right: Callable, do: Any, dweights: Any, past: Any) -> tuple:
    return right(do, None, past)


def _by_sum(right: Callable, do: Any, dweights: Any, past: Any) -> tuple:
    return right(do, None if dweights is None else dweights * 2, past)


BACKWARD = {
    "1/√d is forgotten": _unscaled,
    "softmax without the sum over its row": of_past(
        lambda past: past._replace(output=0 * past.output, weights=past.weights)
    ),
    "the mask is ignored": of_past(unmasked),
    "dropout is ignored": of_past(lambda past: past._replace(dropped=None)),
    "v's gradient from the weights before dropout": of_past(
        lambda past: past._replace(weights=past.softmax)
    ),
    "the weights' gradient is lost": _weights_lost,
    "the weights' gradient is summed over heads": _by_sum,
}
DROPPING = case_of({"dropout": 0.5, "add_bias_kv": True}, "bool", "bool by head")


def plant(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, wrong: Callable) -> None:
    right = getattr(module, name)
    monkeypatch.setattr(module, name, lambda *a, **k: wrong(right, *a, **k))


@pytest.mark.parametrize("mistake", BACKWARD.values(), ids=BACKWARD)
@pytest.mark.parametrize("dtype", [F64, F32], ids=str)
def test_a_mistake_in_backward_is_rejected_beside_torch(
    mistake: Callable, dtype: np.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, inputs = made(DROPPING, 0)
    check_beside_torch(layer, DROPPING[0], inputs, dtype=dtype)
    plant(monkeypatch, multihead, "attend_backward", mistake)

    with pytest.raises(AssertionError, match="off by"):
        check_beside_torch(layer, DROPPING[0], inputs, dtype=dtype)


@pytest.mark.parametrize("mistake", BACKWARD.values(), ids=BACKWARD)
def test_a_mistake_in_backward_is_rejected_without_torch(
    mistake: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, inputs = made(DROPPING, 0)
    noise = layer.draw(*inputs, rng=np.random.default_rng(1))
    check_own_forward(layer, inputs, noise)
    plant(monkeypatch, multihead, "attend_backward", mistake)

    with pytest.raises(AssertionError, match="not"):
        check_own_forward(layer, inputs, noise)


def _no_scale(right: Callable, q: Any, *rest: Any, **named: Any) -> Any:
    return right(q * q.shape[-1] ** 0.5, *rest, **named)


def _all_seen(right: Callable, *arguments: Any, **named: Any) -> Any:
    return right(*arguments, **named)._replace(hidden=None)


FORWARD = {"attend": _no_scale, "merged": _all_seen}


@pytest.mark.parametrize("name", FORWARD)
def test_a_mistake_in_forward_is_rejected_beside_torch(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, inputs = made(DROPPING, 0)
    plant(monkeypatch, multihead, name, FORWARD[name])

    with pytest.raises(AssertionError, match="off by"):
        check_beside_torch(layer, DROPPING[0], inputs)


MASKED = case_of({}, "float", "float by head")


@pytest.mark.parametrize("place", [0, 1], ids=NAMES[3:])
def test_a_mask_without_its_gradient_is_rejected(
    place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, inputs = made(MASKED, 0)
    check_beside_torch(layer, MASKED[0], inputs)
    right = masks.Masks.gradients

    def cut(self: Any, dz: Any, batched: bool) -> tuple:
        found = list(right(self, dz, batched))
        found[place] = None
        return tuple(found)

    monkeypatch.setattr(masks.Masks, "gradients", cut)

    with pytest.raises(AssertionError, match=f"input {3 + place}"):
        check_beside_torch(layer, MASKED[0], inputs)


def test_balls_reject_a_mistake_of_one_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("flint", reason="balls need python-flint")
    layer, inputs = made(({"embed_dim": 1, "num_heads": 1}, (1, 2, 2), True, "", ""), 0)

    def nearly(right: Callable, *arguments: Any) -> tuple:
        return tuple(d * (1 + 2.0**-52) for d in right(*arguments))

    plant(monkeypatch, multihead, "attend_backward", nearly)

    with pytest.raises(AssertionError, match="WRONG"):
        check_certified(layer, inputs)


def test_the_gauge_rejects_a_mistake_far_below_a_common_tolerance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layer, inputs = made(DROPPING, 0)

    def slightly(right: Callable, *arguments: Any) -> tuple:
        return tuple(d * (1 + 1e-9) for d in right(*arguments))

    plant(monkeypatch, multihead, "attend_backward", slightly)

    with pytest.raises(AssertionError, match="beyond tolerance"):
        check_gauge(layer, DROPPING[0], inputs)


def test_a_backward_that_writes_into_its_cache_is_impure(monkeypatch: pytest.MonkeyPatch) -> None:
    def writing(right: Callable, do: Any, dweights: Any, past: Any) -> tuple:
        found = right(do, dweights, past)
        past.softmax[...] *= 0.5
        return found

    layer, inputs = made(PLAIN, 0)
    plant(monkeypatch, multihead, "attend_backward", writing)

    with pytest.raises(AssertionError, match="changed"):
        check_pure(layer, inputs)


def test_a_wrong_equation_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, inputs = made(({"embed_dim": 2, "num_heads": 1}, (1, 2, 2), True, "", ""), 0)
    wrong = {k: t.replace(" / sqrt(E)", "") for k, t in MultiheadAttention.equations.items()}
    monkeypatch.setattr(MultiheadAttention, "equations", wrong)

    with pytest.raises(AssertionError, match="output at"):
        check_equations(layer, inputs, {"weights": "output:weights"})
