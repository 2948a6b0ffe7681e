"""What padding computes, in the index language: which element stands at every place."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["constant", "copied"]


class Axis(NamedTuple):
    """An axis's letters: input place, output place, length, and what stands at an output place."""

    i: str
    u: str
    n: str
    r: str


AXES = (Axis("k", "t", "D", "s"), Axis("i", "u", "H", "r"), Axis("j", "v", "B", "q"))
CONTINUED = {  # p[a] is added before, p[b] after; circular repeats what those leave
    "reflect": "reflect({u} - p[{a}], {n})",
    "replicate": "clamp({u} - p[{a}], {n})",
    "circular": (
        "clamp(-p[{a}], {n}) + wrap({u} - p[{a}] - clamp(-p[{a}], {n}), "
        "{n} - clamp(-p[{a}], {n}) - clamp(-p[{b}], {n}))"
    ),
}


def copied(axes: int, mode: str) -> dict[str, str]:
    """Return the equations of a padding with copies."""
    own = AXES[-axes:]
    where = [
        f"where {a.r}[{a.u}] = "
        + CONTINUED[mode].format(u=a.u, n=a.n, a=2 * (axes - 1 - at), b=2 * (axes - at) - 1)
        for at, a in enumerate(own)
    ]
    where += _lengths("x", own)
    dx = f"dy[n,c,{_list(own, '{a.u}')}]"
    for a in reversed(own):
        dx = f"sum({a.u}, {a.r}[{a.u}] == {a.i}, {dx})"
    y = f"y[n,c,{_list(own, '{a.u}')}] = x[n,c,{_list(own, '{a.r}[{a.u}]')}]"
    return {
        "output": "\n".join([y, *where]),
        "grad_input": "\n".join([f"dx[n,c,{_list(own, '{a.i}')}] = {dx}", *where]),
    }


def constant(axes: int, value: str) -> dict[str, str]:
    """Return the equations of a padding with one number."""
    own = AXES[-axes:]
    inside = _list(own, "0 <= {a.u} - p[{p}] < {a.n}", " and ")
    shown = _list(own, "0 <= {a.i} + p[{p}] < {a.n}", " and ")
    x, dy = _list(own, "{a.u} - p[{p}]"), _list(own, "{a.i} + p[{p}]")
    y = f"y[n,{_list(own, '{a.u}')}] = cases({inside}, x[n,{x}], {value})"
    dx = f"dx[n,{_list(own, '{a.i}')}] = cases({shown}, dy[n,{dy}], 0)"
    return {
        "output": "\n".join([y, *_lengths("x", own)]),
        "grad_input": "\n".join([dx, *_lengths("dy", own)]),
    }


def _list(axes: tuple[Axis, ...], text: str, between: str = ",") -> str:
    return between.join(text.format(a=a, p=2 * (len(axes) - 1 - at)) for at, a in enumerate(axes))


def _lengths(name: str, axes: tuple[Axis, ...]) -> list[str]:
    count = len(axes)
    return [f"where {a.n} = size({name}, {at - count})" for at, a in enumerate(axes)]
