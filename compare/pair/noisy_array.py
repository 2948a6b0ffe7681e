"""NumPy arrays whose every operation errs at random, for code that knows nothing of them.

Values themselves are moved, so that correlation, contraction and chaos are in them. Code that
strips the class (buffers, `float()`) only loses the noise of what it does outside NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from compare.pair.noise import FUNCTION, SIMPLE, exact, noisy, whole, words

_asarray, _full = np.asarray, np.full  # `kept` replaces NumPy's
QUIET = words(
    "negative positive absolute fabs maximum minimum fmax fmin sign floor ceil rint trunc copysign "
    "conjugate clip isfinite isnan isinf heaviside remainder fmod modf frexp ldexp nextafter "
    "spacing"
)
PRODUCTS = words("dot einsum tensordot inner vdot convolve correlate")
ROUNDED = PRODUCTS | words("trapz trapezoid kron outer cross interp gradient")
OWN_PRODUCTS = {"norm", "matmul", "outer", "multi_dot"}  # of linalg: not judged by norm


class Noisy(np.ndarray):
    """An array whose operations err at random."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return _ufunc(ufunc, method, *inputs, **kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        module, name = getattr(func, "__module__", "") or "", func.__name__
        if module.startswith(("numpy.linalg", "numpy.fft")):
            return _library(func, module.startswith("numpy.fft"), args, kwargs)
        if name in ROUNDED:
            return _product(func, name, args, kwargs)
        return super().__array_function__(func, types, args, kwargs)

    def __getitem__(self, index: Any) -> Any:
        return lifted(super().__getitem__(plain(index)))

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def dot(self, b: Any, out: Any = None) -> Any:
        return np.dot(self, b)

    def sum(self, *args: Any, **kwargs: Any) -> Any:
        return lifted(super().sum(*args, **kwargs))


class NoisyScalar(np.float64):
    """A number taken out of a noisy array."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return _ufunc(ufunc, method, *inputs, **kwargs)


def _scalar(ufunc: Any, *, swapped: bool) -> Callable:
    def compute(self: Any, other: Any) -> Any:
        if not isinstance(other, int | float | np.number | np.ndarray):
            return NotImplemented
        return ufunc(other, self) if swapped else ufunc(self, other)

    return compute


for _name, _operation in (
    ("add", np.add), ("sub", np.subtract), ("mul", np.multiply), ("truediv", np.true_divide),
    ("pow", np.power),
):  # fmt: skip
    setattr(NoisyScalar, f"__{_name}__", _scalar(_operation, swapped=False))
    setattr(NoisyScalar, f"__r{_name}__", _scalar(_operation, swapped=True))


def plain(x: Any) -> Any:
    """Return the same without the noisy classes, in tuples and lists too."""
    if isinstance(x, Noisy):
        return x.view(np.ndarray)
    if isinstance(x, NoisyScalar):
        return np.float64(x)
    if type(x) is tuple:
        return tuple(map(plain, x))
    return list(map(plain, x)) if type(x) is list else x


def lifted(x: Any) -> Any:
    """Return float results as noisy ones."""
    if type(x) is tuple:
        return tuple(map(lifted, x))
    if isinstance(x, np.ndarray) and x.dtype.kind in "fc":
        if x.ndim:
            return x.view(Noisy)
        return NoisyScalar(x) if x.dtype == np.float64 else x[()]
    return NoisyScalar(x) if type(x) is np.float64 else x


def _ufunc(ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
    args, out = plain(inputs), kwargs.pop("out", None)
    kwargs = {k: plain(x) for k, x in kwargs.items()}
    if method == "at":
        return ufunc.at(*args, **kwargs)
    v = getattr(ufunc, method)(*args, **kwargs)
    if not isinstance(v, tuple) and _asarray(v).dtype.kind in "fc" and ufunc.__name__ not in QUIET:
        with np.errstate(all="ignore"):
            size, where = _rounding(ufunc, method, args, kwargs, v)
            v = noisy(v, ufunc.__name__, size, where)
    if out is None:
        return lifted(v)
    plain(out[0])[...] = v
    return out[0]


def _rounding(ufunc: Any, method: str, args: tuple, kwargs: dict, v: Any) -> tuple[Any, Any]:
    """Return the size of what was rounded (None: the result itself), and where nothing was."""
    name = ufunc.__name__
    if name in ("matmul", "vecdot", "matvec", "vecmat"):
        a, b = map(np.abs, args)
        ta, tb = (float(np.max(x, initial=1e-300)) or 1.0 for x in (a, b))
        size = ta * tb * np.sqrt(a.shape[-1] * ufunc((a / ta) ** 2, (b / tb) ** 2, **kwargs))
        return size, True if whole(*args) else size == 0
    if method in ("reduce", "accumulate") and name == "add":
        a = np.abs(_asarray(args[0]))
        n = a.size / max(np.size(v), 1) if method == "reduce" else a.shape[kwargs.get("axis") or 0]
        top = float(np.max(a, initial=0.0)) or 1.0
        options = {k: x for k, x in kwargs.items() if k not in ("initial", "dtype")}
        sums = getattr(ufunc, method)((a / top) ** 2, *args[1:], **options)
        return top * np.sqrt(n * sums), True if n <= 1 or whole(args[0]) else None
    if method == "reduce" and name == "multiply":
        return None, whole(args[0])
    if method != "__call__":
        return None, None
    size = None if name in SIMPLE else FUNCTION * np.abs(v)
    return size, exact(name, args, v)


def _library(func: Any, fourier: bool, args: Any, kwargs: Any) -> Any:
    """Run linear algebra on matrices off by a rounding of their norm; transforms likewise."""
    given, name = plain(args), func.__name__
    if not fourier and name not in OWN_PRODUCTS:
        given = tuple(_normwise(x) if _floats(x) else x for x in given)
    v = func(*given, **{k: plain(x) for k, x in kwargs.items()})

    def one(x: Any) -> Any:
        if not isinstance(x, np.ndarray | np.floating) or _asarray(x).dtype.kind not in "fc":
            return x
        size = _full(np.shape(x), np.sqrt(np.mean(np.abs(x) ** 2))) if fourier else 4 * np.abs(x)
        return lifted(noisy(x, name, size))

    if isinstance(v, tuple):
        return type(v)(*map(one, v)) if hasattr(v, "_fields") else tuple(map(one, v))
    return one(v)


def _product(func: Any, name: str, args: Any, kwargs: Any) -> Any:
    given, options = plain(args), {k: plain(x) for k, x in kwargs.items() if k != "out"}
    v, size = func(*given, **options), None
    if name in PRODUCTS:
        squares = tuple(np.abs(x) ** 2 if _floats(x) else x for x in given)
        sizes = [np.size(x) for x in given if isinstance(x, np.ndarray)]
        inner = np.sqrt(np.prod(sizes, dtype=float) / max(np.size(v), 1))
        size = np.sqrt(max(2.0, min(sum(sizes), inner)) * np.abs(func(*squares, **options)))
    result = noisy(v, name, size)
    if kwargs.get("out") is None:
        return lifted(result)
    plain(kwargs["out"])[...] = result
    return kwargs["out"]


def _floats(x: Any) -> bool:
    return isinstance(x, np.ndarray | np.floating) and _asarray(x).dtype == np.float64


def _normwise(a: np.ndarray) -> Any:
    return noisy(a, "normwise", _full(np.shape(a), np.max(np.abs(a), initial=0.0)))


MAKERS = ("zeros", "empty")  # what is made inside the code under test is noisy as well
COPIERS = ("ones", "full", "asarray", "array", "ascontiguousarray", "asfortranarray")


@contextmanager
def kept() -> Iterator[None]:
    """Let what makes fresh arrays, or would strip the class, keep it: for the whole process."""
    before = {name: getattr(np, name) for name in (*MAKERS, *COPIERS) if hasattr(np, name)}
    try:
        for name, function in before.items():
            setattr(np, name, _keeping(function, always=name in MAKERS))
        yield
    finally:
        for name, function in before.items():
            setattr(np, name, function)


def _keeping(function: Callable, *, always: bool) -> Callable:
    def made(*args: Any, **kwargs: Any) -> Any:
        v = function(*args, **kwargs)
        if type(v) is not np.ndarray or v.dtype != np.float64:
            return v
        return v.view(Noisy) if always or (args and _holds_noisy(args[0])) else v

    return made


def _holds_noisy(x: Any) -> bool:
    if isinstance(x, list | tuple):
        return any(map(_holds_noisy, x))
    return isinstance(x, Noisy | NoisyScalar)
