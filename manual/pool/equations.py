"""What pools compute, in the index language, for 1, 2 or 3 axes."""

from __future__ import annotations

__all__ = [
    "ADAPTIVE",
    "START",
    "adaptive",
    "averages",
    "fractional",
    "largest",
    "most",
    "powers",
    "unpooled",
    "won",
]

# by axis, of which the last are used: an output's index, the window's, the input's, the place of
# the window's element k of output u, and how long the axis is
OUT, WITHIN, IN, PLACE, SIZE = "tuv", "mkl", "hij", "orq", ("D", "H", "B")
START, END = "aeg", "bfz"  # by axis, from the first: where a window of no fixed place lies


def _out(axes: int) -> str:
    return ",".join(OUT[-axes:])


def _in(axes: int) -> str:
    return ",".join(IN[-axes:])


def _nested(what: str, axes: int, letters: str, conditions: list[str], body: str) -> str:
    for letter, condition in reversed(list(zip(letters[-axes:], conditions, strict=True))):
        body = (
            f"{what}({letter}, {condition}, {body})" if condition else f"{what}({letter}, {body})"
        )
    return body


def _sizes(axes: int) -> str:
    return "".join(f"\nwhere {SIZE[a]} = size(x, {a})" for a in range(-axes, 0))


def largest(axes: int) -> str:
    """Return max-pooling's output: the largest of what a window meets."""
    conditions, places = [], []
    for a in range(axes):
        k, r, u = WITHIN[a - axes], PLACE[a - axes], OUT[a - axes]
        conditions.append(f"0 <= {k} < K[{a}] and 0 <= {r}[{u},{k}] < {SIZE[a - axes]}")
        places.append(f"\nwhere {r}[{u},{k}] = s[{a}] * {u} + d[{a}] * {k} - p[{a}]")
    at = ",".join(f"{PLACE[a]}[{OUT[a]},{WITHIN[a]}]" for a in range(-axes, 0))
    text = _nested("largest", axes, WITHIN, conditions, f"x[n,c,{at}]")
    return f"y[n,c,{_out(axes)}] = {text}{''.join(places)}{_sizes(axes)}"


def won(axes: int) -> str:
    """Return the gradient where every window has one winner, w: its index."""
    return f"dx[n,c,{_in(axes)}] = {_received(axes, '{}')}{_lengths(axes)}"


def won_with_signs(axes: int) -> str:
    """Return it where w counts from 1 and has the winner's sign."""
    text = f"{_received(axes, '{} + 1')} - {_received(axes, '-({}) - 1')}"
    return f"dx[n,c,{_in(axes)}] = {text}{_lengths(axes)}"


def _received(axes: int, winner: str) -> str:
    """Return what an element gets from the windows whose w is this of its index."""
    index = IN[-axes]
    for a in range(1 - axes, 0):
        index = (
            f"{index} * {SIZE[a]} + {IN[a]}"
            if a == 1 - axes
            else (f"({index}) * {SIZE[a]} + {IN[a]}")
        )
    conditions = [*[""] * (axes - 1), f"w[n,c,{_out(axes)}] == {winner.format(index)}"]
    return _nested("sum", axes, OUT, conditions, f"dy[n,c,{_out(axes)}]")


def _lengths(axes: int) -> str:
    return "".join(f"\nwhere {SIZE[a]} = size(x, {a})" for a in range(1 - axes, 0))


def _inside(axes: int) -> list[str]:
    """Return when an input's element lies in an output's window."""
    return [
        f"0 <= {IN[a - axes]} + p[{a}] - s[{a}] * {OUT[a - axes]} < K[{a}]" for a in range(axes)
    ]


def averages(axes: int) -> dict[str, str]:
    """Return average pooling's equations; f counts what a window is divided by."""
    own, out = _in(axes), _out(axes)
    total = _nested("sum", axes, IN, _inside(axes), f"x[n,c,{own}]")
    back = _nested("sum", axes, OUT, _inside(axes), f"dy[n,c,{out}] / f[{out}]")
    return {
        "output": f"y[n,c,{out}] = {total} / f[{out}]",
        "grad_input": f"dx[n,c,{own}] = {back}",
    }


ADAPTIVE = {"O": "cache.out"}


def _adaptive(axes: int) -> tuple[list[str], str]:
    """Return when an input's element lies in an adaptive window, and what says so."""
    inside, where = [], ""
    for a in range(axes):
        i, u, size = IN[a - axes], OUT[a - axes], SIZE[a - axes]
        inside.append(f"{START[a]}[{u}] <= {i} < {END[a]}[{u}]")
        where += f"\nwhere {START[a]}[{u}] = {u} * {size} // O[{a}]"
        where += f"\nwhere {END[a]}[{u}] = (({u} + 1) * {size} + O[{a}] - 1) // O[{a}]"
    return inside, where + _sizes(axes)


def adaptive(axes: int) -> dict[str, str]:
    """Return adaptive average pooling's equations."""
    (inside, where), own, out = _adaptive(axes), _in(axes), _out(axes)
    letters = zip(OUT[-axes:], START[:axes], END[:axes], strict=True)
    count = " * ".join(f"({end}[{u}] - {start}[{u}])" for u, start, end in letters)
    back = _nested("sum", axes, OUT, inside, f"dy[n,c,{out}] / ({count})")
    return {
        "output": f"y[n,c,{out}] = {_nested('mean', axes, IN, inside, f'x[n,c,{own}]')}{where}",
        "grad_input": f"dx[n,c,{own}] = {back}{where}",
    }


def most(axes: int) -> dict[str, str]:
    """Return adaptive max pooling's equations."""
    inside, where = _adaptive(axes)
    text = _nested("largest", axes, IN, inside, f"x[n,c,{_in(axes)}]")
    return {"output": f"y[n,c,{_out(axes)}] = {text}{where}", "grad_input": won(axes)}


def powers(axes: int) -> dict[str, str]:
    """Return power-average pooling's equations; q is the p-norm's p."""
    own, out = _in(axes), _out(axes)
    volume = " * ".join(f"K[{a}]" for a in range(axes))
    inner = _nested("sum", axes, IN, _inside(axes), f"x[n,c,{own}]**q")
    z = f"\nwhere z[n,c,{out}] = {volume} * {inner} / f[{out}]"
    slope = f"cases(abs(z[n,c,{out}]) > 0, z[n,c,{out}]**(1 / q - 1), 0)"
    back = _nested("sum", axes, OUT, _inside(axes), f"dy[n,c,{out}] * {slope} / f[{out}]")
    found = {
        "output": f"y[n,c,{out}] = z[n,c,{out}]**(1 / q){z}",
        "grad_input": f"dx[n,c,{own}] = {volume} * x[n,c,{own}]**(q - 1) * {back}{z}",
    }
    for q, sign in (("inf", ""), ("-inf", "-")):
        text = largest(axes).replace(" = largest", f" = {sign}largest", 1)
        text = text.replace("x[n,c,", f"{sign}abs(x[n,c,", 1)
        head, _, rest = text.partition("\n")
        at = head.rindex("]") + 1
        found[f"output/norm_type = {q}"] = f"{head[:at]}){head[at:]}\n{rest}"
        found[f"grad_input/norm_type = {q}"] = won_with_signs(axes)
    return found


def fractional(axes: int) -> dict[str, str]:
    """Return fractional max pooling's equations; a window starts at a[n,c,u], …."""
    at = ",".join(f"{START[a]}[n,c,{OUT[a - axes]}] + {WITHIN[a - axes]}" for a in range(axes))
    inside = [f"0 <= {WITHIN[a - axes]} < K[{a}]" for a in range(axes)]
    text = _nested("largest", axes, WITHIN, inside, f"x[n,c,{at}]")
    return {"output": f"y[n,c,{_out(axes)}] = {text}", "grad_input": won(axes)}


def unpooled(axes: int) -> dict[str, str]:
    """Return unpooling's equations; S holds the output's sizes."""
    index, out = IN[-axes], _out(axes)
    for a in range(1, axes):
        index = f"({index}) * S[{a}] + {IN[a - axes]}"
    conditions = [*[""] * (axes - 1), f"w[n,c,{out}] == {index}"]
    row = f"w[n,c,{out}]"
    at: list[str] = []
    rest = row
    for a in range(axes - 1, 0, -1):
        at.insert(0, f"wrap({rest}, S[{a}])")
        rest = f"{rest} // S[{a}]"
    return {
        "output": f"y[n,c,{_in(axes)}] = {_nested('sum', axes, OUT, conditions, f'x[n,c,{out}]')}",
        "grad_input": f"dx[n,c,{out}] = dy[n,c,{','.join([rest, *at])}]",
    }
