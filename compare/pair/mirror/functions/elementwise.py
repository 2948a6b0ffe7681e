"""Functions of one element, of two, or of more: arithmetic, powers, angles, choices."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from inspect import signature
from typing import Any

from torch.nn import functional

from compare.pair.mirror.call import Builder, Call, NoTwin, Value
from compare.pair.mirror.functions.arguments import a_number, of
from manual import activations, gates
from manual.gates import (
    angles,
    blends,
    choices,
    constants,
    divisions,
    pairs,
    powers,
    steps,
)
from manual.layer import Layer

TABLE: dict[str, Builder] = {}


def _entry(*names: str) -> Callable[[Builder], Builder]:
    def enter(builder: Builder) -> Builder:
        TABLE.update(dict.fromkeys(names, builder))
        return builder

    return enter


def _unary(layer: Callable[[], Layer]) -> Builder:
    def build(input: Value) -> Call:
        return of(layer(), input)

    return build


UNARY: dict[str, Callable[[], Layer]] = {
    "abs absolute fabs": gates.AbsGate,
    "neg negative": gates.NegateGate,
    "exp": gates.ExpGate,
    "log": gates.LogGate,
    "reciprocal": gates.ReciprocalGate,
    "sigmoid special.expit": gates.SigmoidGate,
    "tanh": gates.TanhGate,
    "sin": gates.SinGate,
    "cos": gates.CosGate,
    "square": partial(gates.PowerGate, 2),
    "sqrt": powers.SqrtGate,
    "rsqrt": powers.RsqrtGate,
    "exp2 special.exp2": powers.Exp2Gate,
    "expm1 special.expm1": powers.ExpM1Gate,
    "log1p special.log1p": powers.Log1pGate,
    "log2": powers.Log2Gate,
    "log10": powers.Log10Gate,
    "tan": angles.TanGate,
    "asin arcsin": angles.AsinGate,
    "acos arccos": angles.AcosGate,
    "atan arctan": angles.AtanGate,
    "sinh": angles.SinhGate,
    "cosh": angles.CoshGate,
    "asinh arcsinh": angles.AsinhGate,
    "acosh arccosh": angles.AcoshGate,
    "atanh arctanh": angles.AtanhGate,
    "sinc special.sinc": angles.SincGate,
    "floor": steps.FloorGate,
    "ceil": steps.CeilGate,
    "trunc fix": steps.TruncGate,
    "sign sgn": steps.SignGate,
    "frac": steps.FracGate,
    "angle": steps.AngleGate,
    "positive": partial(gates.AddConstantGate, 0.0),
    "deg2rad": partial(gates.MultiplyConstantGate, math.pi / 180),
    "rad2deg": partial(gates.MultiplyConstantGate, 180 / math.pi),
}
for _names, _layer in UNARY.items():
    TABLE.update(dict.fromkeys(_names.split(), _unary(_layer)))


@_entry("round", "special.round")
def _round(input: Value, *, decimals: int = 0) -> Call:
    return of(steps.RoundGate(decimals), input)


# ── activations ──────────────────────────────────────────────────────────────────────────────────
def _activation(cls: type[Layer]) -> Builder:
    """Return the builder of a layer whose arguments are the function's, in place or not."""

    def build(input: Value, *args: Any, **kwargs: Any) -> Call:
        try:
            given = signature(cls).bind(*args, **kwargs).arguments
        except TypeError as error:
            raise NoTwin(str(error)) from None
        given.pop("inplace", None)
        try:
            return of(cls(**given), input)
        except ValueError as refused:
            raise NoTwin(str(refused)) from None

    return build


SPELT = {name.replace("_", ""): name for name in dir(functional) if not name.endswith("_")}
for _name in {*activations.__all__} - {"PReLU", "RReLU"}:  # these take more than arguments
    if (_of := SPELT.get(_name.lower())) is not None:
        TABLE.setdefault(_of, _activation(getattr(activations, _name)))


# ── arithmetic with numbers on either side ───────────────────────────────────────────────────────
def _pair(layer: Callable[[], Layer]) -> Builder:
    def build(input: Value, other: Value) -> Call:
        return _of_two(layer(), input, other)

    return build


def _of_two(layer: Layer, input: Any, other: Any) -> Call:
    for x in (input, other):
        if not isinstance(x, Value):
            raise NoTwin("a number where a tensor is known")
    return of(layer, input, other)


PAIRS: dict[str, Callable[[], Layer]] = {
    "maximum": gates.MaxGate,
    "minimum": pairs.MinGate,
    "fmax": pairs.FmaxGate,
    "fmin": pairs.FminGate,
    "atan2 arctan2": pairs.Atan2Gate,
    "hypot": pairs.HypotGate,
    "logaddexp": pairs.LogAddExpGate,
    "logaddexp2": pairs.LogAddExp2Gate,
    "ldexp": pairs.LdexpGate,
}
for _names, _layer in PAIRS.items():
    TABLE.update(dict.fromkeys(_names.split(), _pair(_layer)))


@_entry("add")
def _add(input: Any, other: Any, *, alpha: float = 1) -> Call:
    if not isinstance(input, Value):
        input, other = other, input
        if alpha != 1:
            raise NoTwin("alpha= of a number")
    if isinstance(other, Value):
        return of(gates.AddGate(alpha), input, other)
    return of(gates.AddConstantGate(alpha * a_number(other, "other")), input)


TABLE["radd"] = _add


@_entry("sub", "subtract")
def _sub(input: Any, other: Any, *, alpha: float = 1) -> Call:
    if not isinstance(other, Value):
        return of(gates.AddConstantGate(-alpha * a_number(other, "other")), input)
    if isinstance(input, Value):
        return of(gates.SubtractGate(alpha), input, other)
    if alpha != 1:
        raise NoTwin("alpha= of a number")
    return of(constants.SubtractFromGate(a_number(input, "input")), other)


@_entry("rsub")
def _rsub(input: Any, other: Any, *, alpha: float = 1) -> Call:
    return _sub(other, input, alpha=alpha)


@_entry("mul", "multiply", "rmul")
def _mul(input: Any, other: Any) -> Call:
    if not isinstance(input, Value):
        input, other = other, input
    if isinstance(other, Value):
        return of(gates.MultiplyGate(), input, other)
    return of(gates.MultiplyConstantGate(a_number(other, "other")), input)


@_entry("div", "divide", "true_divide", "truediv")
def _div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Call:
    if rounding_mode is not None:
        if isinstance(other, Value):
            return _of_two(divisions.RoundedDivideGate(rounding_mode), input, other)
        return of(divisions.RoundedDivideGate(rounding_mode, a_number(other, "other")), input)
    if not isinstance(other, Value):
        return of(constants.DivideConstantGate(a_number(other, "other")), input)
    if not isinstance(input, Value):
        return of(constants.DivideIntoGate(a_number(input, "input")), other)
    return of(gates.DivideGate(), input, other)


@_entry("floordiv", "floor_divide")
def _floor_divide(input: Any, other: Any) -> Call:
    return _div(input, other, rounding_mode="floor")


@_entry("rdiv", "rtruediv")
def _rdiv(input: Value, other: Any) -> Call:
    return _div(other, input)


@_entry("pow")
def _pow(input: Any, exponent: Any) -> Call:
    if not isinstance(exponent, Value):
        return of(gates.PowerGate(a_number(exponent, "exponent")), input)
    if not isinstance(input, Value):
        return of(powers.ExponentialGate(a_number(input, "input")), exponent)
    return of(pairs.PowGate(), input, exponent)


@_entry("float_power")
def _float_power(input: Any, exponent: Any) -> Call:
    if any(isinstance(x, Value) and x.dtype != float for x in (input, exponent)):
        raise NoTwin("computed in float64")
    return _pow(input, exponent)


@_entry("rpow")
def _rpow(input: Value, other: Any) -> Call:
    return _pow(other, input)


def _with_number(layer: Callable[..., Layer]) -> Builder:
    def build(input: Any, other: Any) -> Call:
        if isinstance(other, Value):
            return _of_two(layer(), input, other)
        return of(layer(a_number(other, "other")), input)

    return build


for _names, _layer in {
    "remainder mod": divisions.RemainderGate,
    "fmod": divisions.FmodGate,
    "copysign": divisions.CopysignGate,
}.items():
    TABLE.update(dict.fromkeys(_names.split(), _with_number(_layer)))


@_entry("rmod")
def _rmod(input: Any, other: Any) -> Call:
    raise NoTwin("a number divided by a tensor, with what is left")


@_entry("xlogy", "special.xlogy")
def _xlogy(input: Any, other: Any) -> Call:
    return _of_two(pairs.XlogyGate(), input, other)


@_entry("special.xlog1py")
def _xlog1py(input: Any, other: Any) -> Call:
    return _of_two(pairs.Xlog1pyGate(), input, other)


@_entry("lerp")
def _lerp(input: Value, end: Value, weight: Any) -> Call:
    if isinstance(weight, Value):
        return of(blends.LerpGate(), input, end, weight)
    return of(blends.LerpGate(a_number(weight, "weight")), input, end)


@_entry("addcmul")
def _addcmul(input: Value, tensor1: Value, tensor2: Value, *, value: float = 1) -> Call:
    return of(blends.AddcmulGate(a_number(value, "value")), input, tensor1, tensor2)


@_entry("addcdiv")
def _addcdiv(input: Value, tensor1: Value, tensor2: Value, *, value: float = 1) -> Call:
    return of(blends.AddcdivGate(a_number(value, "value")), input, tensor1, tensor2)


# ── choices ──────────────────────────────────────────────────────────────────────────────────────
@_entry("where")
def _where(condition: Value, input: Any, other: Any) -> Call:
    return _chosen(condition, input, other)


@_entry("where_method")
def _where_method(input: Any, condition: Value, other: Any) -> Call:
    """Choose as x.where(condition, y) does: x comes first."""
    return _chosen(condition, input, other)


def _chosen(condition: Value, yes: Any, no: Any) -> Call:
    """Return the choice between two, each a tensor or a number."""
    x, y = (v.real() if isinstance(v, Value) else None for v in (yes, no))
    first = None if x is not None else a_number(yes, "input")
    second = None if y is not None else a_number(no, "other")
    return Call(choices.WhereGate(first, second), (condition, x, y))


@_entry("masked_fill")
def _masked_fill(input: Value, mask: Value, value: Any) -> Call:
    return _chosen(mask, value, input)


@_entry("clamp", "clip")
def _clamp(input: Value, min: Any = None, max: Any = None) -> Call:
    if isinstance(min, Value) or isinstance(max, Value):
        if not all(b is None or isinstance(b, Value) for b in (min, max)):
            raise NoTwin("one bound is a number, the other a tensor")
        return of(choices.ClampBetweenGate(), input, min, max)
    low, high = (b if b is None else a_number(b, "a bound") for b in (min, max))
    return of(choices.ClampGate(low, high), input)


@_entry("clamp_min")
def _clamp_min(input: Value, min: Any) -> Call:
    return _clamp(input, min)


@_entry("clamp_max")
def _clamp_max(input: Value, max: Any) -> Call:
    return _clamp(input, None, max)


@_entry("nan_to_num")
def _nan_to_num(
    input: Value, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Call:
    return of(choices.NanToNumGate(nan or 0.0, posinf, neginf), input)


@_entry("fill")
def _fill(input: Value, value: Any) -> Call:
    return of(steps.FillGate(a_number(value, "value")), input)


@_entry("zero")
def _zero(input: Value) -> Call:
    return of(steps.FillGate(0.0), input)
