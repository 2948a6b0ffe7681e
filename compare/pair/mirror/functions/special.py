"""Special functions: of the error function's, the normal's, the gamma function's family."""

from __future__ import annotations

from collections.abc import Callable

from compare.pair.mirror.call import Builder, Call, NoTwin, Value
from compare.pair.mirror.functions.arguments import of
from manual.gates import special
from manual.layer import Layer


def _unary(layer: Callable[[], Layer]) -> Builder:
    def build(input: Value) -> Call:
        return of(layer(), input)

    return build


def _logit(input: Value, eps: float | None = None) -> Call:
    return of(special.LogitGate(eps), input)


def _polygamma(n: int, input: Value) -> Call:
    if isinstance(n, Value):  # the method of a tensor
        n, input = input, n  # type: ignore[assignment]
    if n < 2:
        raise NoTwin("torch's trigamma, its value or slope, is good to ten digits only")
    return of(special.PolygammaGate(n), input)


def _digamma(input: Value) -> Call:
    return _polygamma(0, input)


def _mvlgamma(input: Value, p: int) -> Call:
    return of(special.MvlgammaGate(p), input)


NAMES: dict[str, Callable[[], Layer]] = {
    "erf": special.ErfGate,
    "erfc": special.ErfcGate,
    "erfinv": special.ErfinvGate,
    "special.erfcx": special.ErfcxGate,
    "special.ndtr": special.NdtrGate,
    "special.ndtri": special.NdtriGate,
    "special.log_ndtr": special.LogNdtrGate,
    "special.entr": special.EntrGate,
    "lgamma": special.LgammaGate,
    "special.gammaln": special.LgammaGate,
}
TABLE: dict[str, Builder] = {
    **{name: _unary(layer) for name, layer in NAMES.items()},
    **{f"special.{name}": _unary(NAMES[name]) for name in ("erf", "erfc", "erfinv")},
    **dict.fromkeys(("digamma", "special.digamma", "special.psi"), _digamma),
    "logit": _logit,
    "special.logit": _logit,
    "polygamma": _polygamma,
    "special.polygamma": _polygamma,
    "mvlgamma": _mvlgamma,
    "special.multigammaln": _mvlgamma,
}
