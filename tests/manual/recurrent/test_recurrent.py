"""RNN, GRU, the cells, and sequences of different lengths beside torch; and planted mistakes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manual import registry
from manual.examples import Example
from manual.layer import Layer
from manual.recurrent import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell, packing, stack, unrolled
from manual.recurrent.gru_cell import GRUUnit
from tests.helpers import DTYPES, F32, F64, SEEDS
from tests.manual.sequence_checks import check_beside_torch, filled, of_example, results, shown

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
NAMES = ("RNN", "GRU", "RNNCell", "GRUCell", "LSTMCell")
EXAMPLES = [
    pytest.param(name, example, id=f"{name} {shown(example)}")
    for name in NAMES
    for example in registry.LAYERS[name].examples
]


# ── against torch ────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(("name", "example"), EXAMPLES)
@pytest.mark.parametrize("dtype", [F64, F32], ids=str)
def test_every_example_is_torchs(name: str, example: Example, dtype: np.dtype) -> None:
    layer, inputs, _ = of_example(registry.LAYERS[name], example)
    check_beside_torch(layer, example.arguments, inputs, dtype=dtype)


@st.composite
def cases(draw: st.DrawFn) -> tuple[str, dict[str, Any], tuple[int, ...], bool, bool]:
    """Draw a class, its arguments, an input's shape, and whether states and lengths are given."""
    name, layers = draw(st.sampled_from(["RNN", "GRU", "LSTM"])), draw(st.integers(1, 3))
    arguments: dict[str, Any] = {
        "input_size": draw(st.integers(1, 3)),
        "hidden_size": 2,
        "num_layers": layers,
        "bias": draw(st.booleans()),
        "batch_first": draw(st.booleans()),
        "dropout": draw(st.sampled_from([0.0, 0.3, 1.0])) if layers > 1 else 0.0,
        "bidirectional": draw(st.booleans()),
    }
    if name == "RNN":
        arguments["nonlinearity"] = draw(st.sampled_from(["tanh", "relu"]))
    if name == "LSTM":
        arguments["proj_size"] = draw(st.integers(0, 1))
    batch = draw(st.sampled_from([(), (1,), (4,)]))
    shape = (*batch, draw(st.integers(1, 4)))
    shape = shape if arguments["batch_first"] else shape[::-1]
    lengths = bool(batch) and draw(st.booleans())
    return name, arguments, (*shape, arguments["input_size"]), draw(st.booleans()), lengths


def made(case: tuple, seed: int = 0) -> tuple[Any, list[Any]]:
    name, arguments, shape, states, packed = case
    rng = np.random.default_rng(seed)
    layer: Any = filled(registry.LAYERS[name](**arguments), rng)
    time = 1 if len(shape) == 3 and layer.batch_first else 0
    batch = () if len(shape) == 2 else (shape[1 - time],)
    sizes = [(layer.directions * layer.num_layers, *batch, size) for size in layer.state_sizes]
    given = [rng.standard_normal(size) if states else None for size in sizes]
    lengths = rng.integers(1, shape[time] + 1, batch) if packed else None
    return layer, [rng.standard_normal(shape), *given, lengths]


@given(cases(), SEEDS, DTYPES, st.booleans())
@settings(max_examples=60, deadline=None)
def test_any_options_give_torchs_results(
    case: tuple, seed: int, dtype: np.dtype, training: bool
) -> None:
    layer, inputs = made(case, seed)
    check_beside_torch(layer.train(training), case[1], inputs, seed=seed % 1000, dtype=dtype)


BOTH_WAYS = {"input_size": 2, "hidden_size": 2, "num_layers": 2, "bidirectional": True}


@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
def test_nothing_beyond_a_sequences_end_is_read(name: str) -> None:
    layer, inputs = made((name, BOTH_WAYS, (5, 3, 2), True, False))
    lengths = np.array([2, 5, 3])
    spoiled = np.where((np.arange(5)[:, None] < lengths)[..., None], inputs[0], np.nan)
    found = layer.forward(spoiled, *inputs[1:-1], lengths)[0]
    ups = [np.ones_like(y) for y in found]
    grads = results(layer, [spoiled, *inputs[1:-1], lengths], ups)

    assert not found[0][2:, 0].any()
    assert not found[0][3:, 2].any()
    assert all(np.isfinite(g).all() for g in grads.values())
    assert not grads["input 0"][2:, 0].any()


@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
def test_a_padded_batch_is_each_sequence_alone(name: str) -> None:
    layer, inputs = made((name, BOTH_WAYS, (5, 3, 2), True, False))
    lengths = np.array([2, 5, 3])
    together = layer.forward(inputs[0], *inputs[1:-1], lengths)[0]

    for n, length in enumerate(lengths):
        own = [s[:, n] for s in inputs[1:-1]]
        alone = layer.forward(inputs[0][:length, n], *own)[0]
        np.testing.assert_allclose(together[0][:length, n], alone[0], rtol=1e-12)
        for state, end in zip(together[1:], alone[1:], strict=True):
            np.testing.assert_allclose(state[:, n], end, rtol=1e-12)


def test_full_lengths_change_nothing() -> None:
    layer, inputs = made(("GRU", BOTH_WAYS, (4, 3, 2), True, False))
    plain = layer.forward(*inputs)[0]
    packed = layer.forward(*inputs[:-1], np.array([4, 4, 4]))[0]

    assert all(np.array_equal(a, b) for a, b in zip(plain, packed, strict=True))


def test_memory_and_time_grow_linearly_so_a_thousand_steps_work() -> None:
    layer = filled(LSTM(2, 3), np.random.default_rng(0))
    x = np.random.default_rng(1).standard_normal((1000, 2, 2))
    (_, h_n, _), cache = layer.forward(x)  # type: ignore[misc]
    held = sum(a.nbytes for past in cache.pasts for step in past.steps for a in step)
    (dx, *_), _ = layer.backward((None, np.ones_like(h_n), None), cache)

    assert np.isfinite(dx).all()
    assert held <= 1000 * 2 * 3 * 8 * 6  # i, f, g, o, c and tanh c of every step


def test_the_reset_gate_stands_behind_the_product() -> None:
    """With r before it, as in the paper, a bias c_n would not be reset."""
    layer = GRUCell(1, 1)
    far = {"weight_ih": 0.0, "weight_hh": 0.0, "bias_ih": [-40.0, -40.0, 0.0], "bias_hh": [0, 0, 3]}
    shapes = {k: p.shape for k, p in layer.params.items()}
    layer = layer.with_params(
        {k: np.broadcast_to(np.array(v, float), shapes[k]) for k, v in far.items()}
    )
    h, _ = layer.forward(np.ones((1, 1)), np.ones((1, 1)))

    assert abs(h.item()) < 1e-15  # r = z = 0: h' = n = tanh(r · 3)


def test_a_rectifiers_slope_at_zero_is_zero() -> None:
    x = np.ones((1, 1))
    for layer in (RNNCell(1, 1, nonlinearity="relu"), RNN(1, 1, nonlinearity="relu")):
        inputs = (x,) if isinstance(layer, RNNCell) else (x[None],)
        y, cache = layer.forward(*inputs)
        dy = np.ones_like(y) if isinstance(layer, RNNCell) else tuple(map(np.ones_like, y))
        _, grads = layer.backward(dy, cache)
        assert not any(g.any() for g in grads.values())
        assert not np.any(layer.decisions(cache))


# ── planted mistakes ─────────────────────────────────────────────────────────────────────────────
def _shared_biases(right: Callable, *arguments: Any) -> Any:
    found = right(*arguments)
    return found._replace(bias_hh=found.bias_ih)


def _reset_before(right: Callable, unit: Any, dstates: Any, step: Any) -> tuple:
    ds, _, before = right(unit, dstates, step)
    return ds, ds, before


def _no_way_past(right: Callable, unit: Any, dstates: Any, step: Any) -> tuple:
    ds, dq, _ = right(unit, dstates, step)
    return ds, dq, (None,)


def _from_the_batchs_end(right: Callable, a: Any, packed: Any) -> Any:
    return a[::-1]


def _nothing_kept(right: Callable, a: Any, packed: Any) -> Any:
    return a


def _sorted_draws(right: Callable, rows: Any, packed: Any) -> Any:
    whole = np.zeros((*packed.active.shape, rows.shape[1]), dtype=bool)
    whole[packed.active] = rows  # as if they were sorted already
    return whole


def _last_place(right: Callable, active: Any, states: Any, others: Any) -> Any:
    return states


MISTAKES = {
    "one gradient for both biases": (unrolled, "_weight_gradients", _shared_biases),
    "r is not in the gradient of U h + c": (GRUUnit, "backward", _reset_before),
    "h is not read by the blend": (GRUUnit, "backward", _no_way_past),
    "the reverse direction starts in the padding": (stack, "turned", _from_the_batchs_end),
    "what is padded is shown": (stack, "kept", _nothing_kept),
    "draws in the order of the batch": (stack, "spread", _sorted_draws),
    "states go on in the padding": (unrolled, "_where", _last_place),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_planted_mistake_is_rejected(mistake: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, name, wrong = mistake
    arguments = {**BOTH_WAYS, "dropout": 0.5}
    layer, inputs = made(("GRU", arguments, (5, 3, 2), True, False))
    inputs[-1] = np.array([2, 5, 3])
    check_beside_torch(layer, arguments, inputs)
    right = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *a: wrong(right, *a))

    with pytest.raises(AssertionError, match="off by"):
        check_beside_torch(layer, arguments, inputs)


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("kind", "arguments", "said"),
    [
        (RNN, {"nonlinearity": "sigmoid"}, "RNN: nonlinearity must be 'tanh' or 'relu', received"),
        (RNNCell, {"nonlinearity": "gelu"}, "RNNCell: nonlinearity must be 'tanh' or 'relu'"),
        (GRU, {"hidden_size": 2.0}, "GRU: hidden_size must be a whole number, received 2.0"),
        (GRU, {"bias": 1}, "GRU: bias must be True or False, received 1"),
        (LSTM, {"dropout": True}, "LSTM: dropout is the probability"),
        (GRUCell, {"input_size": -1}, "GRUCell: input_size must be at least 0, received -1"),
        (GRU, {"proj_size": 1}, "GRU has no argument 'proj_size'"),
    ],
    ids=str,
)
def test_arguments_that_do_not_fit_are_refused(
    kind: type[Layer], arguments: dict, said: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=re.escape(said)):
        kind(**{"input_size": 2, "hidden_size": 3, **arguments})


@pytest.mark.parametrize("dtype", [F64, F32], ids=str)
@pytest.mark.parametrize("length", [4, 5])
def test_packed_sequences_equally_long_take_torchs_draws(dtype: np.dtype, length: int) -> None:
    """In float32 torch's LSTM draws (T, N, F) for them, not (Σ lengths, F)."""
    arguments = {**BOTH_WAYS, "dropout": 0.5}
    layer, inputs = made(("LSTM", arguments, (5, 3, 2), True, False))
    inputs[-1] = np.full(3, length)
    check_beside_torch(layer, arguments, inputs, dtype=dtype)


def test_a_mask_of_another_shape_is_refused_beside_lengths() -> None:
    layer, inputs = made(("LSTM", {**BOTH_WAYS, "dropout": 0.5}, (5, 3, 2), True, False))
    for lengths, wrong in (([2, 5, 3], (5, 3, 4)), ([4, 4, 4], (5, 3, 4)), ([4, 4, 4], (3, 4, 4))):
        inputs[-1] = np.array(lengths)
        with pytest.raises(ValueError, match="noise must be 1 masks"):
            layer.forward(*inputs, noise=np.ones(wrong, bool))


@pytest.mark.parametrize("kind", [RNNCell, LSTMCell, GRUCell])
@pytest.mark.parametrize("sizes", [(0, 3), (2, 0), (0, 0)])
@pytest.mark.parametrize("batch", [(), (0,), (4,)])
@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_a_cell_of_no_features_or_no_state_is_torchs(
    kind: Any, sizes: tuple[int, int], batch: tuple[int, ...]
) -> None:
    arguments = {"input_size": sizes[0], "hidden_size": sizes[1]}
    layer, rng = filled(kind(**arguments), np.random.default_rng(0)), np.random.default_rng(1)
    states = 2 if kind is LSTMCell else 1
    shapes = [sizes[0], *[sizes[1]] * states]
    check_beside_torch(layer, arguments, [rng.standard_normal((*batch, n)) for n in shapes])


X = np.zeros((5, 4, 2))


@pytest.mark.parametrize(
    ("kind", "inputs", "said"),
    [
        (RNN, (X, np.zeros((1, 3))), "RNN: h_0 must have the shape"),
        (GRU, (X, None, np.array([1, 2])), "lengths need one number for each of the 4 sequences"),
        (GRU, (X[:, 0], None, np.array([1])), "lengths need a batched input"),
        (GRU, (X, None, np.array([1, 2, 0, 3])), "between 1 and T = 5, received 0"),
        (RNN, (X, None, np.array([1, 6, 2, 3])), "between 1 and T = 5, received 6"),
        (LSTM, (X, None, None, np.ones(4)), "lengths must be whole numbers, received float64"),
        (GRUCell, (X,), "GRUCell: the input must be (N, I) or unbatched (I,)"),
        (RNNCell, (X[0], np.zeros(3)), "RNNCell: hx must have the shape (4, 3)"),
        (LSTMCell, (X[0], np.zeros((4, 3))), "h_0 and c_0 come together, received h_0 alone"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(kind: type[Layer], inputs: tuple, said: str) -> None:
    with pytest.raises((ValueError, TypeError), match=re.escape(said)):
        kind(2, 3).forward(*inputs)  # type: ignore[call-arg]


def test_the_mirror_of_a_place_is_its_own_inverse() -> None:
    packed = packing.packing(np.array([1, 4, 3]), 4)
    x = np.random.default_rng(0).standard_normal((4, 3, 2))

    assert np.array_equal(packing.turned(packing.turned(x, packed), packed), x)
