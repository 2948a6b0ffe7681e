"""What padding computes, in the index language: which element stands at every place."""

from __future__ import annotations

__all__ = ["constant", "copied"]

Places = tuple[tuple[str, str, str], ...]
AXES: Places = (("k", "t", "D"), ("i", "u", "H"), ("j", "v", "B"))  # input, output, length
CONTINUED = {
    "reflect": "reflect({u} - p[{a}], {n})",
    "replicate": "clamp({u} - p[{a}], {n})",
    "circular": "f[{a}] + wrap({u} - p[{a}] - f[{a}], {n} - m[{a}])",
}


def copied(axes: int, mode: str) -> dict[str, str]:
    """Return the equations of a padding with copies."""
    own = AXES[-axes:]
    outs, ins = (",".join(a[at] for a in own) for at in (1, 0))
    met = [CONTINUED[mode].format(u=u, a=a, n=n) for a, (_, u, n) in enumerate(own)]
    where = [f"where r{a}[{u}] = {met[a]}" for a, (_, u, _) in enumerate(own)]
    where += [f"where {n} = size(x, {a - axes})" for a, (_, _, n) in enumerate(own)]
    reads = ",".join(f"r{a}[{u}]" for a, (_, u, _) in enumerate(own))
    dx = f"dy[n,c,{outs}]"
    for a, (i, u, _) in reversed(list(enumerate(own))):
        dx = f"sum({u}, r{a}[{u}] == {i}, {dx})"
    return {
        "output": "\n".join([f"y[n,c,{outs}] = x[n,c,{reads}]", *where]),
        "grad_input": "\n".join([f"dx[n,c,{ins}] = {dx}", *where]),
    }


def constant(axes: int, value: str) -> dict[str, str]:
    """Return the equations of a padding with one number."""
    own = AXES[-axes:]
    outs, ins = (",".join(a[at] for a in own) for at in (1, 0))
    reads = ",".join(f"{u} - p[{a}]" for a, (_, u, _) in enumerate(own))
    inside = " and ".join(f"0 <= {u} - p[{a}] < {n}" for a, (_, u, n) in enumerate(own))
    where = [f"where {n} = size(x, {a - axes})" for a, (_, _, n) in enumerate(own)]
    shown = " and ".join(f"0 <= {i} + p[{a}] < {n}" for a, (i, _, n) in enumerate(own))
    of = ",".join(f"{i} + p[{a}]" for a, (i, _, _) in enumerate(own))
    sizes = [f"where {n} = size(dy, {a - axes})" for a, (_, _, n) in enumerate(own)]
    return {
        "output": "\n".join([f"y[n,{outs}] = cases({inside}, x[n,{reads}], {value})", *where]),
        "grad_input": "\n".join([f"dx[n,{ins}] = cases({shown}, dy[n,{of}], 0)", *sizes]),
    }
