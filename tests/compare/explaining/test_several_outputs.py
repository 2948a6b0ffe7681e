"""Layers of several outputs: their equations give the numbers of their own examples.

In a network the rows of such a node have no formula; `compare.explain` says so.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compare.explaining.bound import Pass
from compare.explaining.equations import equation
from compare.explaining.evaluate import Env, bind, head
from compare.explaining.language import parse
from compare.pair.example import Made, made
from manual import registry
from manual.layer import Example

# What has no equation. Embedding's inputs are integers: they have no gradient. Those of attention's
# projections and inputs, of clusters after the first, and a recurrent layer's parameters above the
# first layer, of the reverse direction and of the projection, are derived in backward's docstring
# only; what WeightNorm and SpectralNorm compute is what the layer within does.
PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
FURTHER = {f"grad:{p}_{at}" for p in PARTS for at in ("l1", "l0_reverse", "l1_reverse")}
WITHOUT = {
    "AdaptiveLogSoftmaxWithLoss": {
        f"grad:tail.{cluster}.{part}.weight" for cluster in (1, 2) for part in (0, 1)
    },
    "Embedding": {"grad_input"},
    "InitialState": {"grad_input"},
    "MultiheadAttention": {
        "grad_input", "grad:in_proj_weight", "grad:in_proj_bias", "grad:q_proj_weight",
        "grad:k_proj_weight", "grad:v_proj_weight", "grad:bias_k", "grad:bias_v",
    },
    "RNN": FURTHER,
    "GRU": FURTHER,
    "LSTM": {
        *FURTHER, *(f"grad:{p}_l2" for p in PARTS),
        *(f"grad:weight_hr_l{k}{r}" for k in (0, 1) for r in ("", "_reverse")),
    },
    "SpectralNorm": {
        "output", "grad_input", "grad:bias", "grad:parametrizations.weight.original",
        "grad:weight", "grad:parametrizations.bias.original",
    },
    "WeightNorm": {
        "output", "grad_input", "grad:bias", "grad:weight",
        *(f"grad:parametrizations.{name}.original{i}"
          for name in ("weight", "bias") for i in (0, 1)),
    },
}  # fmt: skip
PORTS = {"AdaptiveLogSoftmaxWithLoss", "GRU", "LSTM", "LSTMCell", "MultiheadAttention", "RNN",
         "Unbind"}  # fmt: skip
ALONE = [(name, example) for name in sorted(PORTS) for example in registry.LAYERS[name].examples]


def by_role(case: Made, dy: Any) -> dict[str, Any]:
    """Return every result under the role that its equation has."""
    y, cache = case.forward()
    grads, own = case.layer.backward(dy, cache)
    ports = dict(zip(case.layer.outputs, y if isinstance(y, tuple) else (y,), strict=True))
    found = {k if k == "output" else f"output:{k}": v for k, v in ports.items()}
    return found | {
        "grad_input": grads[0],
        **_of_states(case, grads),
        **{f"grad:{k}": g for k, g in own.items()},
    }


def _of_states(case: Made, grads: Any) -> dict[str, Any]:
    """Return the gradients of initial states, where they were given."""
    pairs = zip(case.names, grads, strict=False)  # what was left out has no place
    return {f"grad_{k}": g for k, g in pairs if g is not None and k in ("h_0", "c_0")}


def by_formula(case: Made, role: str, dy: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return every element of a result as its equation gives it.

    Raises:
        KeyError: no equation holds.
    """
    asked = Pass(case.layer, role, case.inputs, dy, 0, case.noise)
    formula = equation(case.layer, role, asked.holds)
    bound = asked.bound(formula)
    env = Env(bound.arrays, bound.scalars, formula.definitions, bound.fold)
    right, indices = parse(formula.right), head(formula.left)[1]
    values = [float(env.value(right, bind(indices, bound.at(at)))) for at in np.ndindex(shape)]
    return np.reshape(values, shape)


def unworked(name: str, example: Example) -> set[str]:
    """Hold every result against its equation; return the roles that have none for this pass."""
    case = made(registry.LAYERS[name], example, np.random.default_rng(5))
    dy, missing = case.upstream(np.random.default_rng(7)), set()
    for role, value in by_role(case, dy).items():
        try:
            worked = by_formula(case, role, dy, np.shape(value))
        except KeyError:
            missing.add(role)
            continue
        np.testing.assert_allclose(worked, value, rtol=1e-12, atol=1e-12, err_msg=role)
    return missing


PLAIN = {"MultiheadAttention": {"embed_dim", "num_heads", "batch_first"},
         "LSTM": {"input_size", "hidden_size", "batch_first"},
         "LSTMCell": {"input_size", "hidden_size", "bias"},
         "RNN": {"input_size", "hidden_size", "batch_first"},
         "GRU": {"input_size", "hidden_size", "batch_first"},
         "AdaptiveLogSoftmaxWithLoss": {"in_features", "n_classes", "cutoffs", "div_value",
                                        "head_bias"},
         "Unbind": {"dim", "count"}}  # fmt: skip


@pytest.mark.parametrize(("name", "example"), ALONE)
def test_a_layer_of_several_outputs_alone_gives_the_numbers_of_its_equations(
    name: str, example: Example
) -> None:
    """Their equations are those of one layer, head or cluster; of others none claims to hold."""
    given = example.arguments
    plain = set(given) <= PLAIN[name] and given.get("num_heads", 1) == 1
    plain &= "cutoffs" not in given or "head_bias" in given
    missing = unworked(name, example)

    if plain:
        own = {f"grad:{p}" for p in registry.LAYERS[name](**given).params}
        assert missing == WITHOUT.get(name, set()) & {"grad_input", *own}
    else:
        case = made(registry.LAYERS[name], example, np.random.default_rng(5))
        assert missing == set(by_role(case, case.upstream(np.random.default_rng(7))))


@pytest.mark.parametrize(
    ("name", "role", "right", "wrong"),
    [
        ("LSTM", "grad_input/one layer", "dh_n[0,n,k]", "0"),
        ("LSTM", "grad:weight_hh_l0/one layer", "dc_n[0,n,k]", "0"),
        ("LSTM", "grad_h_0/one layer, initial states", "dz[0,n,m]", "dz[1,n,m]"),
        ("LSTM", "grad_c_0/one layer, initial states", "f[0,n,k]", "f[1,n,k]"),
        ("LSTM", "output:c_n/one layer", "t > T - 2", "t > T - 3"),
        ("LSTMCell", "grad_input/given state", "dc_n[n,k]", "0"),
        ("GRU", "grad_h_0/one layer, initial states", " + dh[0,n,p] * z[0,n,p]", ""),
        ("RNN", "grad:bias_hh_l0/tanh, one layer, initial states", "dh_n[0,n,k]", "0"),
        ("MultiheadAttention", "output/one head", " / sqrt(E)", ""),
    ],
)
def test_a_wrong_formula_of_several_outputs_is_caught(
    name: str, role: str, right: str, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = registry.LAYERS[name].equations[role]
    assert right in text
    monkeypatch.setattr(
        registry.LAYERS[name],
        "equations",
        {**registry.LAYERS[name].equations, role: text.replace(right, wrong)},
    )

    with pytest.raises(AssertionError, match=role.partition("/")[0]):
        list(map(unworked, *zip(*[case for case in ALONE if case[0] == name], strict=True)))
