"""The error gauge: its budget covers what rounding does, and nothing that is wrong."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compare.gauge import Doubts, Gauge, Setting, doubting, gauge, gauging, setting

F32, F64 = np.dtype("float32"), np.dtype("float64")


def test_cancellation_keeps_the_error_of_what_cancelled() -> None:
    x = gauge(np.array([1.0]))
    with gauging(F32):
        third = x / 3.0
        rest = third - 1.0 / 3.0

    assert rest.v == 0
    assert rest.error[0] >= 1 / 3


def test_errors_grow_as_the_root_of_a_sum_of_squares_not_as_a_worst_case() -> None:
    with gauging(F32):
        total = (gauge(np.full(10_000, 0.1)) * 3.0).sum()
    worst_case = 10_000 * 10_000 * 0.3  # each of n additions rounds a sum of up to n · 0.3

    assert 30 < float(total.error) < worst_case / 1000


def test_exact_data_has_no_error() -> None:
    assert (gauge(np.ones(3)).error == 0).all()


def test_a_flushed_subnormal_stays_in_the_budget() -> None:
    x = np.array([-103.0], dtype=np.float32)
    with gauging(F32):
        tolerance = np.exp(gauge(x)).tolerance(F32)

    assert abs(0.0 - float(np.exp(np.float64(-103.0)))) <= tolerance[0]


def test_writing_into_gauge_arrays_writes_errors_too() -> None:
    with gauging(F32):
        x = gauge(np.ones((2, 3))) * 1.5
        fresh = np.zeros_like(x)
        fresh[0, 1] = x[0, 1]
        np.put_along_axis(fresh, np.array([[2], [2]]), x[:, :1], axis=1)

    assert fresh.v.tolist() == [[0, 1.5, 1.5], [0, 0, 1.5]]
    assert (fresh.error > 0).tolist() == [[False, True, True], [False, False, True]]


def test_a_rival_within_rounding_of_the_winner_lends_its_error() -> None:
    exact, rough = gauge(np.array([1.0])), Gauge(np.array([1.0 - 1e-9]), np.array([100.0]))

    with gauging(F32):
        assert np.maximum(exact, rough).error[0] == 10
        assert np.max(np.concatenate([exact, rough])).error == 10
        assert np.maximum(exact, Gauge(np.array([0.5]), np.array([1.0]))).error[0] == 0
    with gauging(F64):  # whose rounding does not reach so far
        assert np.maximum(exact, rough).error[0] == 0
        assert np.max(np.concatenate([exact, rough])).error == 0


def test_in_place_arithmetic_updates_the_error() -> None:
    with gauging(F32):
        x = gauge(np.ones(3)) * 1.0
        x += gauge(np.ones(3))

    assert isinstance(x, Gauge)
    assert (x.v == 2).all()
    assert (x.error > 2).all()


@pytest.mark.parametrize("scale", [1e-140, 1e-155, 1e-170, 1e-300])
def test_values_whose_squares_underflow_keep_a_budget(scale: float) -> None:
    x = np.array([scale, 3 * scale]) * 1.1
    with gauging(F64):
        found = (gauge(x) * 0.7) * 1.3
    other = x * (0.7 * 1.3)

    assert (np.abs(found.v - other) <= found.tolerance(F64)).all()


def test_an_infinite_error_times_zero_is_infinite_and_no_tolerance_of_nan() -> None:
    x = Gauge(np.array([[1.0, 2.0]]), np.array([[np.inf, 1.0]]))

    with np.errstate(invalid="ignore"):
        y = x @ gauge(np.array([[0.0], [1.0]]))

    assert np.isinf(y.tolerance(np.dtype(np.float64))).all()


def test_a_comparison_that_rounding_may_turn_is_in_doubt_if_asked() -> None:
    far, near = np.array([1.0, -1.0]), np.array([1.0, 3.0])

    def mask(x: Any) -> Any:
        return x * 1.1 - x * 1.1 > 0

    doubts = Doubts(1.0)
    with gauging(np.dtype(np.float32)), doubting(doubts):
        certain, exact = gauge(far) * 1.1 > 0, gauge(0 * far) > 0
        doubtful = mask(gauge(near))
        flipped = gauge(far) * ~doubtful
    with gauging(np.dtype(np.float32)):
        plain = mask(gauge(near))

    assert certain.tolist() == [True, False]
    assert exact.tolist() == plain.tolist() == [False, False]
    assert doubts.count == 2
    assert (doubtful.tolerance(np.dtype(np.float32)) >= 1).all()
    assert flipped.v.tolist() == far.tolist()
    assert (flipped.tolerance(np.dtype(np.float32)) >= 1).all()


def test_where_the_condition_is_in_doubt_the_other_case_is_allowed() -> None:
    x, u = np.array([1.0, 3.0]), np.dtype(np.float32)
    with gauging(u), doubting(Doubts(1.0)):
        score = gauge(x) * 1.1 - gauge(x) * 1.1
        doubtful = np.where(score > 0, gauge(x), 2.0)
        certain = np.where(gauge(x) > 2, gauge(x), 2.0)

    assert doubtful.v.tolist() == [2.0, 2.0]
    assert (np.abs(x - 2) <= doubtful.tolerance(u)).all()
    assert (doubtful.tolerance(u) < 1.1).all()
    assert certain.v.tolist() == [2.0, 3.0]
    assert (certain.tolerance(u) < 1e-30).all()


def test_a_percent_off_is_still_caught_in_small_values() -> None:
    x = np.array([1e-100])
    with gauging(F64):
        found = gauge(x) * 0.7

    assert abs(found.v * 0.01) > found.tolerance(F64)


def test_moving_a_single_number_keeps_its_error() -> None:
    with gauging(F64):
        total = np.sum(gauge(np.arange(3.0)) * 1.1)

        moves: tuple[Any, ...] = (
            total.reshape(1),
            total.reshape(1, 1)[0],
            np.expand_dims(total, 0),
        )
        for moved in moves:
            assert moved.error.item() == total.error.item() > 0


# views, as NumPy's are: a rough array (E = 3 everywhere) is written through each of them
VIEWS: dict[str, Any] = {
    "slice": lambda a: a[1:, ::2],
    "row": lambda a: a[2],
    "backwards": lambda a: a[::-1],
    "with a new axis": lambda a: a[:, None, 1:4],
    "slice of a slice": lambda a: a[1:][:, 2:][..., 0],
    "reshape": lambda a: a.reshape(2, 2, 6),
    "ravel": lambda a: a.ravel(),
    "np.ravel of rows": lambda a: np.ravel(a[1:]),
    "T": lambda a: a.T,
    "mT": lambda a: np.swapaxes(a, -1, -2) if isinstance(a, np.ndarray) else a.mT,
    "transpose": lambda a: a.transpose(1, 0),
    "np.moveaxis": lambda a: np.moveaxis(a, 0, 1)[2:],
    "reshape of a transpose": lambda a: a.T[:, None].reshape(6, 4),
    "np.split": lambda a: np.split(a, 2, axis=1)[1],
    "np.squeeze": lambda a: np.squeeze(a[1:2]),
    "np.expand_dims": lambda a: np.expand_dims(a, 1),
    "a row of a loop": lambda a: list(a)[3],
}
COPIES: dict[str, Any] = {
    "fancy index": lambda a: a[[0, 2]],
    "mask": lambda a: a[np.eye(4, 6, dtype=bool)],
    "copy": lambda a: a.copy(),
    "flatten": lambda a: a.flatten(),
    "ravel of every other column": lambda a: a[:, ::2].ravel(),
    "reshape of a slice": lambda a: a[:, 1:].reshape(-1),
    "roll": lambda a: np.roll(a, 1),
    "negative": lambda a: -a,
    "positive": lambda a: +a,
    "absolute": lambda a: np.abs(a),
    "np.where": lambda a: np.where(True, a, 0.0),
    "clip": lambda a: np.clip(a, None, None),
    "sort": lambda a: np.sort(a),
}
WRITES: dict[str, Any] = {
    "+=": lambda a, b: a.__iadd__(b),
    "*=": lambda a, b: a.__imul__(b),
    "/=": lambda a, b: a.__itruediv__(b),
    "a[...] =": lambda a, b: a.__setitem__(..., b),
    "a[:1] +=": lambda a, b: a[:1].__iadd__(b),
    "out=": lambda a, b: np.subtract(a, b, out=a),
    "out=, where=": lambda a, b: np.add(a, b, out=a, where=a > 0),
    "copyto": lambda a, b: np.copyto(a, b * np.ones_like(a)),
    "np.add.at": lambda a, b: np.add.at(a, np.array([0, 0]), b),
    "reduction": lambda a, b: np.sum(a * b, axis=0, keepdims=True, out=a[:1]),
}
SOURCES: dict[str, Any] = {  # how the array that is written into came about
    "exact": lambda x: gauge(x),
    "rough": lambda x: Gauge(x.copy(), np.full(x.shape, 9.0)),
    "computed": lambda x: gauge(x) * 1.0,
    "errors of one number": lambda x: Gauge(x.copy(), np.broadcast_to(9.0, x.shape)),
    "errors in another layout": lambda x: Gauge(x.copy(), np.full(x.shape[::-1], 9.0).T),
    "values in another layout": lambda x: gauge(x.copy("F")) * 1.0,
    "errors shared with another": lambda x: np.positive(gauge(x) * 1.0),
}
NUMBERS = np.random.default_rng(0).standard_normal((4, 6))


@pytest.mark.parametrize("wide", [False, True], ids=["", "wide"])
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("view", VIEWS)
def test_writing_into_a_view_writes_into_its_base(
    view: str, write: str, source: str, wide: bool
) -> None:
    ordinary = NUMBERS.copy("F" if source == "values in another layout" else "C")
    WRITES[write](VIEWS[view](ordinary), 1.5)
    with gauging(F64, wide=wide):
        base = SOURCES[source](NUMBERS)
        before, older = base.error.copy(), VIEWS[view](base)
        WRITES[write](VIEWS[view](base), Gauge(np.array(1.5), np.array(1e6)))
        touched = base.v != NUMBERS

    assert np.allclose(base.v, ordinary, rtol=1e-15)
    assert (base.error[touched] > 4).all()
    assert np.array_equal(base.error[~touched], before[~touched])
    assert np.array_equal(older.v, VIEWS[view](base.v))
    assert np.array_equal(older.error, VIEWS[view](base.error))


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("copy", COPIES)
def test_writing_into_a_copy_leaves_the_original_alone(copy: str, source: str) -> None:
    with gauging(F64):
        base = SOURCES[source](NUMBERS)
        before = base.error.copy()
        apart = COPIES[copy](base)
        kept = apart.error.copy()
        apart[...] = Gauge(np.array(1.5), np.array(1e6))
        assert np.array_equal(base.v, NUMBERS)
        assert np.array_equal(base.error, before)

        apart = COPIES[copy](base)
        base[1:] += Gauge(np.array(1.5), np.array(1e6))
        assert np.array_equal(apart.error, kept)


@given(st.data())
@settings(max_examples=150, derandomize=True, deadline=None)
def test_any_chain_of_views_and_writes_does_what_numpy_does(data: st.DataObject) -> None:
    """E² beside the values: where 1.0 is in the one, 1.0 is in the other."""
    ordinary = np.zeros((4, 6))
    base = Gauge(np.zeros((4, 6)))
    pairs = [(ordinary, base)]
    with gauging(F64):
        for _ in range(data.draw(st.integers(1, 6))):
            a, b = data.draw(st.sampled_from(pairs))
            if a.shape == (4, 6):
                move = data.draw(st.sampled_from(sorted(VIEWS | COPIES)))
                a, b = ((VIEWS | COPIES)[move](x) for x in (a, b))
                pairs.append((a, b))
            elif a.ndim:
                cut = slice(data.draw(st.integers(0, 2)), None, data.draw(st.integers(1, 2)))
                pairs.append((a := a[cut], b := b[cut]))
            if data.draw(st.booleans()):
                a[...] = 1.0
                b[...] = Gauge(np.array(1.0), np.array(1.0))

    for a, b in pairs:
        assert np.array_equal(a, b.v)
        assert np.array_equal(b.error, np.abs(a))


def test_errors_are_copied_before_a_write_only_if_another_array_holds_them() -> None:
    with gauging(F64):
        x = gauge(np.ones((3, 3))) * 1.1
        x[0] = 2.0
        errors = x._e2
        x[1] = 3.0
        x[2:] *= 1.1
        assert x._e2 is errors

        other = -x
        x[0] = Gauge(np.array(2.0), np.array(49.0))
        assert x._e2 is not errors
        assert other.error[0].max() < 7 == x.error[0].min()


def test_the_given_array_is_not_written_into() -> None:
    x = np.ones(3)
    lifted = gauge(x)
    lifted += 1.0
    lifted[1:] *= 2.0

    assert (x == 1).all()


def test_errors_cannot_vanish_in_a_part_of_an_ordinary_array() -> None:
    buffer = np.zeros((2, 3))
    x = gauge(np.ones(3)) * 1.1
    with pytest.raises(TypeError, match=r"np\.zeros_like"):
        buffer[0] += x
    with pytest.raises(TypeError, match=r"np\.zeros_like"):
        np.multiply(x, x, out=buffer[1])
    with pytest.raises(TypeError, match=r"lose its errors"):
        buffer[0] = x
    total = np.zeros(3)
    total += x

    assert isinstance(total, Gauge)


def test_settings_belong_to_a_thread_and_end_with_the_block() -> None:
    with gauging(F32), gauging(F64, wide=True):
        assert setting().wide
        with ThreadPoolExecutor(1) as pool:
            assert not pool.submit(lambda: setting().wide).result()
    assert setting() == Setting()
    with pytest.raises(KeyError), gauging(F32):
        raise KeyError
    assert setting() == Setting()
