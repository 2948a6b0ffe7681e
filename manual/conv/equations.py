"""What a convolution and its transpose compute, in the index language, for each of their variants.

Both are made of three sums over the same places: windows are gathered, spread, or multiplied with
what they meet. The place that element k of the kernel meets at u is r[u,k] (planes f[t,m], rows
r[u,k], columns q[v,l]); what lies beyond the border only changes how those continue. Variants:
"no bias", "grouped" and the padding mode, unless it is zeros, joined by commas: `output/no bias,
grouped, reflect`.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

__all__ = ["SYMBOLS", "convolution", "transposed"]

SYMBOLS = {
    "W": "weight", "b": "bias", "s": "stride", "d": "dilation", "p": "before", "G": "groups",
}  # fmt: skip
CONTINUED = {"zeros": "{}", "reflect": "reflect({}, {n})", "replicate": "clamp({}, {n})",
             "circular": "wrap({}, {n})"}  # fmt: skip
GROUPS = ("where D = size(W, 1)", "where O = size(W, 0)")


class Axis(NamedTuple):
    """An axis's letters: place met, output place, kernel element, input place, length."""

    met: str
    out: str
    kernel: str
    place: str
    length: str


AXES = (Axis("f", "t", "m", "h", "F"), Axis("r", "u", "k", "i", "H"), Axis("q", "v", "l", "j", "B"))


class Sums:
    """The three sums over `axes` axes, of windows' results (out) and what they meet (into).

    Args:
        axes: how many.
        out, into: names of the arrays with their channel's letter: "dy[n,o", "x[n,c".
        groups: whether channels are kept apart; mode: how a border continues.
    """

    def __init__(self, axes: int, out: str, into: str, groups: bool, mode: str) -> None:
        self.axes, self.out, self.into, self.groups, self.mode = (
            AXES[-axes:],
            out,
            into,
            groups,
            mode,
        )
        self.outs = ",".join(a.out for a in self.axes)
        self.places = ",".join(a.place for a in self.axes)
        self.kernels = ",".join(a.kernel for a in self.axes)
        self.mets = ",".join(f"{a.met}[{a.out},{a.kernel}]" for a in self.axes)

    def gathered(self, left: str, bias: str) -> str:
        """Return windows weighed: sum over c and the kernel; `left` has out's indices."""
        term = f"W[o,c,{self.kernels}] * {self._read()}"
        return self._lines(f"{left} = sum(c, {self._inside('kernel', term)}){bias}")

    def weight(self) -> str:
        """Return dW: sum over n and the places of out."""
        term = f"{self.out},{self.outs}] * {self._read()}"
        return self._lines(f"dW[o,c,{self.kernels}] = sum(n, {self._inside('out', term)})")

    def spread(self, left: str, bias: str) -> str:
        """Return what is added up where windows lie; `left` has into's indices."""
        channel, of = "c", ""
        if self.groups:
            channel, of = "c - o * G // O * D", ", o * G // O == c // D"
        term = f"{self.out},{self.outs}] * W[o,{channel},{self.kernels}]"
        for a in reversed(self.axes):
            at = f"{a.met}[{a.out},{a.kernel}] == {a.place}"
            term = f"sum({a.out}, sum({a.kernel}, {at}, {term}))"
        sized = self.mode != "zeros"
        return self._lines(f"{left} = sum(o{of}, {term}){bias}", sized)

    def _read(self) -> str:
        name, n, _ = self.into.replace("[", ",").split(",")
        return f"{name}[{n},{'o * G // O * D + c' if self.groups else 'c'},{self.mets}]"

    def _inside(self, over: str, term: str) -> str:
        """Return sums over the kernel or the output's places, as far as they meet something."""
        for a in reversed(self.axes):
            cut = self.mode == "zeros"
            inside = f"0 <= {a.met}[{a.out},{a.kernel}] < {a.length}, " if cut else ""
            term = f"sum({getattr(a, over)}, {inside}{term})"
        return term

    def _lines(self, equation: str, sized: bool = True) -> str:
        where, name = [], self.into.partition("[")[0]
        for at, a in enumerate(self.axes):
            place = f"s[{at}] * {a.out} + d[{at}] * {a.kernel} - p[{at}]"
            met = CONTINUED[self.mode].format(place, n=a.length)
            where.append(f"where {a.met}[{a.out},{a.kernel}] = {met}")
        if sized:
            count = len(self.axes)
            where += [
                f"where {a.length} = size({name}, {at - count})" for at, a in enumerate(self.axes)
            ]
        return "\n".join([equation, *where, *(GROUPS if self.groups else ())])


def _key(role: str, *variant: str) -> str:
    named = ", ".join(part for part in variant if part)
    return f"{role}/{named}" if named else role


def convolution(axes: int) -> dict[str, str]:
    """Return the equations of a convolution over `axes` axes."""
    found = {}
    for groups, mode in product((False, True), CONTINUED):
        variant = "grouped" if groups else "", "" if mode == "zeros" else mode
        sums = Sums(axes, "dy[n,o", "x[n,c", groups, mode)
        y, dx = f"y[n,o,{sums.outs}]", f"dx[n,c,{sums.places}]"
        found[_key("output", *variant)] = sums.gathered(y, " + b[o]")
        found[_key("output", "no bias", *variant)] = sums.gathered(y, "")
        found[_key("grad_input", *variant)] = sums.spread(dx, "")
        found[_key("grad:weight", *variant)] = sums.weight()
        found["grad:bias"] = f"db[o] = {_total([a.out for a in sums.axes], f'dy[n,o,{sums.outs}]')}"
    return found


def transposed(axes: int) -> dict[str, str]:
    """Return the equations of a transposed convolution: o counts its input's channels, c y's."""
    found = {}
    for groups in (False, True):
        variant = "grouped" if groups else ""
        sums = Sums(axes, "x[n,o", "dy[n,c", groups, "zeros")
        y, dx = f"y[n,c,{sums.places}]", f"dx[n,o,{sums.outs}]"
        found[_key("output", variant)] = sums.spread(y, " + b[c]")
        found[_key("output", "no bias", variant)] = sums.spread(y, "")
        found[_key("grad_input", variant)] = sums.gathered(dx, "")
        found[_key("grad:weight", variant)] = sums.weight()
        places = [a.place for a in sums.axes]
        found["grad:bias"] = f"db[c] = {_total(places, f'dy[n,c,{sums.places}]')}"
    return found


def _total(places: list[str], term: str) -> str:
    for place in reversed(["n", *places]):
        term = f"sum({place}, {term})"
    return term
