"""Error-gauge arrays: run the hand-written code once more to learn how far rounding can take it.

A `Gauge` carries a value `v` (float64) and the square of its accumulated rounding error `E`, in
units of the unit roundoff u. Errors combine as a root of a sum of squares, as independent errors
do; worst-case bounds grow so fast with depth that they would accept anything. With E known, two
correct programs may differ in an element by at most

    K (u E + 4 tiny),   K = 256

where tiny is the dtype's smallest normal number. The rules are in the files beside this one.
E² underflows where E < 1e-154; so E is never taken to be less than SMALLEST.

Slices, reshapes and transposes are views, as NumPy's are: `x[:, 1:] += y` writes values and errors
into x. So E² of a view is looked up in the array it is a view of. E² is copied before it is written
into only if another array may hold it too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from compare.gauge import registry
from compare.gauge.state import TINY, Format, format_of, setting

K = 256.0
SMALLEST = 1e-150
EXACT = 0.0

Squares = Any  # E²: an array of v's shape, or EXACT for exact data


class Gauge(NDArrayOperatorsMixin):
    """A float64 array with the square of every element's rounding error."""

    _own = False  # E² is this array's alone, laid out in memory as the values are
    _viewed = False  # other arrays are views of this one
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, v: np.ndarray, e2: Squares = EXACT) -> None:
        self.v, self._e2 = v, e2

    @property
    def e2(self) -> Squares:
        """E²; whoever asks may keep it, so it is copied before it is next written into."""
        self._lend()
        return self._e2

    def _lend(self) -> None:
        self._own = False

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return apply_ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        out = kwargs.pop("out", None) if "out" in kwargs else None
        result = registry.function_rule(func, kwargs)(*args, **kwargs)
        return result if out is None else _into(out, result)

    @staticmethod
    def __bilinear__(function: Callable, terms: Callable, *args: Any, **kwargs: Any) -> Any:
        """Answer a function that `manual.bilinear` marks."""
        return registry.OTHERS["bilinear"](function, terms, *args, **kwargs)

    @property
    def __epsilon__(self) -> float:
        """Answer `manual.rounding.machine_epsilon`: of the programs that are gauged."""
        return setting().epsilon or 2 * setting().roundoff

    def __bfloat16__(self) -> Gauge:
        """Answer `manual.rounding.bfloat16`."""
        return registry.OTHERS["bfloat16"](self)

    def __turning__(self) -> Gauge:
        """Answer `manual.rounding.turning`."""
        return registry.OTHERS["turning"](self)

    def __polygamma__(self, n: int) -> Gauge:
        """Answer `manual.gates.special.polygamma`."""
        return registry.OTHERS["polygamma"](self, n)

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError(
            "np.asarray or np.array of an error-gauge array would lose its errors. Compute with "
            "the array itself, and allocate with np.zeros_like(x, shape=…)."
        )

    @property
    def error(self) -> np.ndarray:
        """E of every element, in units of the unit roundoff; infinite where nothing is known."""
        error = np.sqrt(spread(self._e2, self.v.shape))
        if not np.isnan(np.max(error, initial=0.0)):
            return error
        return np.where(np.isnan(error) & ~np.isnan(self.v), np.inf, error)  # infinity times zero

    def tolerance(self, dtype: np.dtype | Format, k: float = K) -> np.ndarray:
        """Return how far two correct programs in `dtype` may differ, element by element."""
        tolerance = self.error
        tolerance *= k * format_of(dtype).unit
        tolerance += least_tolerance(dtype, k)
        return tolerance.astype(np.float64, copy=False)

    # what NumPy's arrays offer as attributes and methods
    shape = property(lambda self: self.v.shape)
    ndim = property(lambda self: self.v.ndim)
    size = property(lambda self: self.v.size)
    dtype = property(lambda self: self.v.dtype)
    T = property(lambda self: self.moved(lambda a: a.T))
    mT = property(lambda self: self.moved(lambda a: np.swapaxes(a, -1, -2)))  # noqa: N815

    def __len__(self) -> int:
        return len(self.v)

    def __bool__(self) -> bool:
        return bool(self.v)

    def __repr__(self) -> str:
        return f"Gauge({self.v!r}, E={self.error!r})"

    def moved(self, move: Callable[[Any], Any]) -> Gauge:
        """Apply a rearrangement of elements to the values and their errors alike."""
        v = move(self.v)
        if v.base is not None and (v.base is self.v or v.base is self.v.base):
            self._viewed = True
            return View(v, self, move)
        if is_exact(self._e2):
            return Gauge(v)
        whole = spread(self._e2, self.v.shape)
        e2 = move(whole)
        lent = isinstance(e2, np.ndarray) and e2.base is not None and np.may_share_memory(e2, whole)
        return Gauge(v, e2.copy() if lent else e2)

    def writable(self) -> np.ndarray:
        """E² as an array to write into, at the same places as into the values."""
        if not (self._own and _alike(self.v, self._e2)):
            e2: Any = np.empty_like(self.v, dtype=setting().squares)
            e2[...] = self._e2
            self._e2, self._own = e2, True
        return self._e2

    def write(self, result: Any, where: Any = True) -> None:
        """Write another array's values and errors into this one."""
        if isinstance(result, Gauge) and where is True and self._replaceable(result):
            self.v, self._e2, self._own = result.v, result._e2, result._own
            return
        v, e2 = parts(result)
        np.copyto(self.v, v, where=where)
        if not (is_exact(self._e2) and is_exact(e2)):
            np.copyto(self.writable(), e2, where=where)

    def _replaceable(self, by: Gauge) -> bool:
        """Whether nobody sees a difference between writing into this array and replacing it."""
        return not self._viewed and not by._viewed and by.v.shape == self.v.shape

    def __getitem__(self, index: Any) -> Gauge:
        return self.moved(lambda a: a[index])

    def __setitem__(self, index: Any, value: Any) -> None:
        v, e2 = parts(value)
        self.v[index] = v
        if not (is_exact(self._e2) and is_exact(e2)):
            self.writable()[index] = e2

    def reshape(self, *shape: Any, **kwargs: Any) -> Gauge:
        return self.moved(lambda a: a.reshape(*shape, **kwargs))

    def transpose(self, *axes: Any) -> Gauge:
        return self.moved(lambda a: a.transpose(*axes))

    def swapaxes(self, a: int, b: int) -> Gauge:
        return self.moved(lambda x: x.swapaxes(a, b))

    def ravel(self) -> Gauge:
        return self.moved(lambda a: a.ravel())

    def flatten(self) -> Gauge:
        return self.moved(lambda a: a.flatten())

    def copy(self) -> Gauge:
        return self.moved(lambda a: a.copy())

    def astype(self, dtype: Any, **_: Any) -> Any:
        """Return a copy: floats stay gauged, in whatever precision; others are ordinary."""
        return self.copy() if np.issubdtype(dtype, np.floating) else self.v.astype(dtype)

    def fill(self, value: Any) -> None:
        self[...] = value

    def sort(self, axis: int = -1) -> None:
        self.write(np.sort(self, axis=axis))

    def argmax(self, axis: Any = None, **kwargs: Any) -> np.ndarray:
        return self.v.argmax(axis=axis, **kwargs)


def _method(name: str) -> Callable[..., Any]:
    function = getattr(np, name)

    def call(self: Gauge, *args: Any, **kwargs: Any) -> Any:
        return function(self, *args, **kwargs)

    call.__name__ = name
    return call


for _name in ("sum", "mean", "max", "min", "var", "std", "prod", "cumsum", "cumprod", "any", "all",
              "argmin", "argsort", "dot", "clip", "squeeze", "repeat", "take", "diagonal", "trace",
              "searchsorted", "nonzero"):  # fmt: skip
    setattr(Gauge, _name, _method(_name))


class View(Gauge):
    """A gauge array whose elements are another's: whatever is written into either is in both."""

    def __init__(self, v: np.ndarray, base: Gauge, move: Callable[[Any], Any]) -> None:
        self.v, self._base, self._move = v, base, move
        self._whole: Squares = EXACT  # the base's E² of which `_part` is a view
        self._part: Squares = EXACT

    @property
    def _e2(self) -> Squares:  # type: ignore[override]
        whole = self._base._e2
        if whole is not self._whole:
            part = EXACT if is_exact(whole) else self._move(spread(whole, self._base.v.shape))
            self._whole, self._part = whole, part
        return self._part

    def _lend(self) -> None:
        self._base._lend()

    def writable(self) -> np.ndarray:
        self._base.writable()
        return self._e2

    def _replaceable(self, by: Gauge) -> bool:
        return False


def apply_ufunc(ufunc: np.ufunc, method: str, inputs: tuple, kwargs: dict) -> Any:
    """Do one ufunc call on values and errors; `out` is filled."""
    if method == "__call__" and not kwargs:
        if ufunc not in registry.PLAIN:
            return rule_for(ufunc)(*inputs)
        doubts = setting().doubts
        if doubts is not None and ufunc in registry.BORDERS:
            return registry.OTHERS["doubt"](doubts, ufunc, *inputs)
        return ufunc(*(parts(x)[0] for x in inputs))
    out = kwargs.pop("out", (None,))[0]
    if ufunc in registry.PLAIN:
        result = getattr(ufunc, method)(*(parts(x)[0] for x in inputs), **kwargs)
        return result if out is None else _into(out, result)
    where = kwargs.pop("where", True) if method == "__call__" and out is not None else True
    if method != "__call__":
        result = registry.method_rule(ufunc, method, kwargs)(ufunc, *inputs, **kwargs)
    elif kwargs:
        given = ", ".join(f"{k}=" for k in sorted(kwargs))
        told = " without out=" if kwargs.keys() == {"where"} else ""
        raise TypeError(f"The error gauge cannot do np.{ufunc.__name__} with {given}{told}.")
    else:
        result = rule_for(ufunc)(*inputs)
    return result if out is None else _into(out, result, where)


def rule_for(ufunc: np.ufunc) -> registry.Rule:
    """Return what a ufunc does to values and errors: squared, or a sketch's."""
    rules = registry.UFUNCS if setting().sketch is None else registry.CORRELATED
    try:
        return rules[ufunc]
    except KeyError:
        return registry.OTHERS["slope"](ufunc)


def _into(out: Any, result: Any, where: Any = True) -> Any:
    """Write a result into `out`, and return it.

    An ordinary array has no place for errors. `total += gauge` on one is taken as
    `total = total + gauge`, which is the same unless `total` is a view of something.
    """
    out = out[0] if isinstance(out, tuple) else out
    if isinstance(out, Gauge):
        out.write(result, where)
        return out
    if not isinstance(result, Gauge):
        np.copyto(out, result, where=where, casting="same_kind")
        return out
    if out.base is None and where is True and out.shape == result.shape:
        return result
    raise TypeError(
        "Errors cannot be written into a part of an ordinary array: allocate it with "
        "np.zeros_like(x, shape=…), where x is an array that the code was given."
    )


def least_tolerance(dtype: np.dtype | Format, k: float = K) -> float:
    """Return the tolerance of an exact zero: K (u SMALLEST + 4 tiny)."""
    format = format_of(dtype)
    return k * (format.unit * SMALLEST + 4 * min(format.lost, TINY))  # others lose it as they go


def parts(x: Any) -> tuple[Any, Squares]:
    """Return the value and the squared error of a gauge array, or of exact data: to compute with.

    Whoever keeps the squared error asks for `e2`, which is then copied before it is written into.
    """
    return (x.v, x._e2) if isinstance(x, Gauge) else (x, EXACT)


def spread(e2: Squares, shape: tuple[int, ...]) -> np.ndarray:
    """Return E² in the values' shape; not to be written into."""
    return e2 if np.shape(e2) == shape else np.broadcast_to(e2, shape)


def _alike(v: np.ndarray, e2: Squares) -> bool:
    """Return whether moves of elements that are views of the one are views of the other."""
    if np.shape(e2) != v.shape:
        return False
    return v.strides == tuple(s * v.itemsize // e2.itemsize for s in e2.strides)


def is_exact(e2: Squares) -> bool:
    """Return whether nothing has been rounded yet."""
    return e2 is EXACT or (np.ndim(e2) == 0 and e2 == EXACT)


def gauge(array: Any) -> Gauge:
    """Wrap exact data: the error of a given weight or input is zero.

    What is written into the gauge array is not written into `array`.
    """
    v = np.asarray(array, dtype=np.float64)
    shared = v is array or (v.base is not None and v.base is array)
    return Gauge(v.copy("K") if shared and v.flags.writeable else v)


def owning(v: Any, e2: Squares) -> Gauge:
    """Return a gauge array of fresh values and squares, laid out alike, that nobody else holds."""
    made = Gauge(v, e2)
    made._own = True
    return made
