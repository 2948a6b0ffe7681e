"""Measuring: flat buffers and single tensors say what a plain loop says; NaN never hides."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compare.judge import measure as module
from compare.judge.judge import VERDICTS, judge, verdict_codes
from compare.judge.measure import measure, ulps
from compare.judge.quantities import Key


def pair(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    torch = rng.standard_normal(shape)
    return torch + rng.standard_normal(shape) * 1e-9, torch


@given(
    seed=st.integers(0, 2**32 - 1),
    shapes=st.lists(st.lists(st.integers(1, 5), max_size=3).map(tuple), min_size=1, max_size=6),
    small=st.sampled_from([1, 10, 4096]),
    block=st.sampled_from([1, 7, 4096]),
    kind=st.sampled_from(["none", "arrays", "numbers"]),
)
@settings(max_examples=90, derandomize=True, deadline=None)
def test_every_column_equals_a_plain_loop(seed, shapes, small, block, kind) -> None:
    rng = np.random.default_rng(seed)
    pairs = [pair(rng, shape) for shape in shapes]
    manual, torch = [m for m, _ in pairs], [t for _, t in pairs]
    tolerances = {
        "none": None,
        "arrays": [rng.uniform(1e-10, 1e-8, shape) for shape in shapes],
        "numbers": [float(x) for x in rng.uniform(1e-10, 1e-8, len(shapes))],
    }[kind]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SMALL", small)
        patch.setattr(module, "BLOCK", block)
        found = measure(manual, torch, tolerances)

    for i, (m, t) in enumerate(pairs):
        difference = np.abs(m - t)
        assert found.max_abs[i] == difference.max()
        assert found.scale[i] == np.abs(t).max()
        assert found.norm[i] == pytest.approx(np.linalg.norm(t.ravel()))
        judged = difference
        if tolerances is not None:
            judged = difference / tolerances[i]
            assert found.budget[i] == pytest.approx(judged.max())
            assert found.zeros[i] == pytest.approx((np.abs(t) / tolerances[i]).max())
        assert found.worst[i] == judged.argmax()
        assert found.manual[i] == m.flat[int(judged.argmax())]
        assert found.torch[i] == t.flat[int(judged.argmax())]


@pytest.mark.parametrize("size", [3, 5000])
@pytest.mark.parametrize("block", [1000, module.BLOCK])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_one_non_finite_element_is_never_agreement(
    size: int, block: int, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK", block)
    torch = np.ones(size)
    manual = torch.copy()
    manual[1] = value
    both = measure([manual, manual], [torch, manual], [np.ones(size)] * 2)

    codes = verdict_codes(both, [manual, manual], [torch, manual])

    assert VERDICTS[codes].tolist() == ["non-finite", "non-finite"]
    assert both.worst[0] == 1
    np.testing.assert_equal(both.manual[0], value)


def test_zeros_that_would_pass_are_vacuous() -> None:
    key = Key("0", "grad:bias")
    tiny = np.full(3, 1e-20)
    rows = judge([key], {key: tiny * 1.5}, {key: tiny}, {key: 1e-15})

    assert VERDICTS[rows.verdicts].tolist() == ["vacuous"]


def overflowed(tolerance: float, gradient: float = 1e200) -> list[str]:
    """Judge an update whose second element overflowed on one side, from a gradient that is off."""
    grad, square = Key("0", "grad:weight"), Key("0", "state:weight:exp_avg_sq")
    sides = [{grad: np.array([1.0, g]), square: np.array([1.0, s])}
             for g, s in ((gradient, np.inf), (1e120, 1e240))]  # fmt: skip
    noise = np.array([1e-9, tolerance])
    rows = judge([grad, square], *sides, {grad: noise, square: np.array([1e-9, np.inf])})
    return VERDICTS[rows.verdicts].tolist()


def test_noise_may_overflow_on_one_side() -> None:
    assert overflowed(np.inf) == ["agree", "agree"]


@pytest.mark.parametrize(("tolerance", "gradient"), [(1e201, 1e200), (np.inf, np.inf)])
def test_what_overflows_without_noise_is_not_finite(tolerance: float, gradient: float) -> None:
    assert overflowed(tolerance, gradient)[1] == "non-finite"


def test_a_tensor_on_one_side_only_is_missing_and_a_wrong_shape_disagrees() -> None:
    a, b, c = Key("0", "output"), Key("1", "output"), Key("2", "grad:weight")
    one = np.ones((2, 3))
    rows = judge([a, b, c], {a: one, c: one.T}, {a: one, b: one, c: one}, {})

    assert VERDICTS[rows.verdicts].tolist() == ["agree", "missing", "disagree"]


def test_a_tensor_that_nobody_expected_is_reported() -> None:
    extra = Key("9", "grad:extra")
    rows = judge([], {extra: np.ones(2)}, {}, {})

    assert rows.keys == [extra]
    assert VERDICTS[rows.verdicts].tolist() == ["missing"]


def test_without_a_tolerance_only_bitwise_equality_agrees() -> None:
    key = Key("0", "output")
    rows = judge([key], {key: np.array([1.0])}, {key: np.array([1.0 + 1e-16])}, {})
    off = judge([key], {key: np.array([1.0])}, {key: np.array([1.0 + 1e-15])}, {})

    assert VERDICTS[rows.verdicts].tolist() == ["agree"]
    assert VERDICTS[off.verdicts].tolist() == ["disagree"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("block", [3, module.BLOCK])
def test_ulps_count_the_distance_in_units_in_the_last_place(
    dtype: type, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK", block)
    torch = np.ones(4, dtype=dtype)
    eps = np.finfo(dtype).eps
    manual = (torch + np.array([0, 1, 2, 4], dtype=dtype) * eps).astype(dtype)

    assert ulps([manual], [torch])[:5].tolist() == [1, 1, 1, 1, 0]
