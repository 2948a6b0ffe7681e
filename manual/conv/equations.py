"""What a two-dimensional convolution computes, in the index language, for each of its variants.

The row of x that row k of the kernel meets at output row u is r[u,k], the column q[v,l]; what lies
beyond the border only changes how those continue. Variants: "no bias", "grouped" and the padding
mode, unless it is zeros, joined by commas: `output/no bias, grouped, reflect`.
"""

from __future__ import annotations

from itertools import product

__all__ = ["EQUATIONS", "SYMBOLS"]

SYMBOLS = {
    "W": "weight", "b": "bias", "s": "stride", "d": "dilation", "p": "before", "G": "groups",
}  # fmt: skip
CONTINUED = {"zeros": "{}", "reflect": "reflect({}, {n})", "replicate": "clamp({}, {n})",
             "circular": "wrap({}, {n})"}  # fmt: skip
PLACE = "s[{axis}] * {out} + d[{axis}] * {k} - p[{axis}]"
SIZES = ("where H = size(x, -2)", "where B = size(x, -1)")
GROUPS = ("where D = size(W, 1)", "where O = size(W, 0)")


def _places(mode: str) -> list[str]:
    """Return the definitions of r and q."""
    rows = CONTINUED[mode].format(PLACE.format(axis=0, out="u", k="k"), n="H")
    columns = CONTINUED[mode].format(PLACE.format(axis=1, out="v", k="l"), n="B")
    return [f"where r[u,k] = {rows}", f"where q[v,l] = {columns}"]


def _output(bias: bool, groups: bool, mode: str) -> str:
    channel = "o * G // O * D + c" if groups else "c"
    term = f"W[o,c,k,l] * x[n,{channel},r[u,k],q[v,l]]"
    right = (
        f"sum(c, sum(k, 0 <= r[u,k] < H, sum(l, 0 <= q[v,l] < B, {term})))"
        if mode == "zeros"
        else f"sum(c, sum(k, sum(l, {term})))"
    )
    lines = [f"y[n,o,u,v] = {right}{' + b[o]' if bias else ''}", *_places(mode), *SIZES]
    return "\n".join([*lines, *(GROUPS if groups else ())])


def _grad_input(groups: bool, mode: str) -> str:
    channel, of = ("c - o * G // O * D", ", o * G // O == c // D") if groups else ("c", "")
    term = f"dy[n,o,u,v] * W[o,{channel},k,l]"
    inner = f"sum(v, sum(l, q[v,l] == j, {term}))"
    lines = [f"dx[n,c,i,j] = sum(o{of}, sum(u, sum(k, r[u,k] == i, {inner})))", *_places(mode)]
    sizes = SIZES if mode != "zeros" else ()
    return "\n".join([*lines, *sizes, *(GROUPS if groups else ())])


def _grad_weight(groups: bool, mode: str) -> str:
    channel = "o * G // O * D + c" if groups else "c"
    term = f"dy[n,o,u,v] * x[n,{channel},r[u,k],q[v,l]]"
    right = (
        f"sum(n, sum(u, 0 <= r[u,k] < H, sum(v, 0 <= q[v,l] < B, {term})))"
        if mode == "zeros"
        else f"sum(n, sum(u, sum(v, {term})))"
    )
    lines = [f"dW[o,c,k,l] = {right}", *_places(mode), *SIZES]
    return "\n".join([*lines, *(GROUPS if groups else ())])


def _key(role: str, *variant: str) -> str:
    named = ", ".join(part for part in variant if part)
    return f"{role}/{named}" if named else role


def _all() -> dict[str, str]:
    found = {"grad:bias": "db[o] = sum(n, sum(u, sum(v, dy[n,o,u,v])))"}
    for groups, mode in product((False, True), CONTINUED):
        variant = "grouped" if groups else "", "" if mode == "zeros" else mode
        found[_key("output", *variant)] = _output(True, groups, mode)
        found[_key("output", "no bias", *variant)] = _output(False, groups, mode)
        found[_key("grad_input", *variant)] = _grad_input(groups, mode)
        found[_key("grad:weight", *variant)] = _grad_weight(groups, mode)
    return found


EQUATIONS = _all()
