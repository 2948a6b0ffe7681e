"""What the recurrent layers of one layer in one direction compute, and their cells, by variant.

Rows of W, U and the biases: one block of H for each gate, torch's order. T is the number of steps.
`dh_n` and `dc_n` are the gradients upstream of the outputs of those names; a `p` behind a state
(hp, cp) is that of the step before, a `d` in front the gradient with respect to it.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

__all__ = [
    "GRU_CELL", "GRU_EQUATIONS", "GRU_SYMBOLS", "LSTM_CELL", "LSTM_EQUATIONS", "LSTM_SYMBOLS",
    "RNN_CELL", "RNN_EQUATIONS", "RNN_SYMBOLS",
]  # fmt: skip

RNN_SYMBOLS = {
    "W": "weight_ih_l0", "U": "weight_hh_l0", "b": "bias_ih_l0", "r": "bias_hh_l0",
    "h0": "h_0", "dh_n": "grad_output.1",
}  # fmt: skip
GRU_SYMBOLS = {
    "W": "weight_ih_l0", "U": "weight_hh_l0", "b": "bias_ih_l0", "c": "bias_hh_l0",
    "h0": "h_0", "H": "hidden_size", "dh_n": "grad_output.1",
}  # fmt: skip
LSTM_SYMBOLS = RNN_SYMBOLS | {"c0": "c_0", "H": "hidden_size", "dc_n": "grad_output.2"}


class Unit(NamedTuple):
    """A unit's definitions; @ stands for the indices before the last, t,n or n."""

    state: tuple[str, ...]  # of what it is in one step
    back: tuple[str, ...]  # from dh to the gradients of the scores
    of_x: str = "dz"  # the scores W x
    of_h: str = "dz"  # the scores U h


JOINT = "z[@,m] = sum(e, W[m,e] * x[#,e]) + sum(p, U[m,p] * hp[@,p])"
TANH = Unit(("h[@,k] = tanh(z[@,k])", JOINT), ("dz[@,k] = dh[@,k] * (1 - h[@,k]**2)",))
RELU = Unit(("h[@,k] = max(z[@,k], 0)", JOINT), ("dz[@,k] = dh[@,k] * (h[@,k] > 0)",))
LSTM = Unit(
    (
        "h[@,k] = o[@,k] * tanh(c[@,k])",
        "c[@,k] = f[@,k] * cp[@,k] + i[@,k] * g[@,k]",
        "i[@,k] = sigma(z[@,k])",
        "f[@,k] = sigma(z[@,k + H])",
        "g[@,k] = tanh(z[@,k + H + H])",
        "o[@,k] = sigma(z[@,k + H + H + H])",
        JOINT,
    ),
    (
        "dz[@,m] = cases(m < H, di[@,m], cases(m < H + H, df[@,m - H], "
        "cases(m < H + H + H, dg[@,m - H - H], do[@,m - H - H - H])))",
        "di[@,k] = dc[@,k] * g[@,k] * i[@,k] * (1 - i[@,k])",
        "df[@,k] = dc[@,k] * cp[@,k] * f[@,k] * (1 - f[@,k])",
        "dg[@,k] = dc[@,k] * i[@,k] * (1 - g[@,k]**2)",
        "do[@,k] = dh[@,k] * tanh(c[@,k]) * o[@,k] * (1 - o[@,k])",
    ),
)
GRU = Unit(
    (
        "h[@,k] = (1 - z[@,k]) * v[@,k] + z[@,k] * hp[@,k]",
        "r[@,k] = sigma(s[@,k] + q[@,k])",
        "z[@,k] = sigma(s[@,k + H] + q[@,k + H])",
        "v[@,k] = tanh(s[@,k + H + H] + r[@,k] * q[@,k + H + H])",
        "s[@,m] = sum(e, W[m,e] * x[#,e])",
        "q[@,m] = sum(p, U[m,p] * hp[@,p])",
    ),
    (
        "dq[@,m] = cases(m < H + H, ds[@,m], ds[@,m] * r[@,m - H - H])",
        "ds[@,m] = cases(m < H, dr[@,m], cases(m < H + H, dz[@,m - H], dv[@,m - H - H]))",
        "dr[@,k] = dv[@,k] * q[@,k + H + H] * r[@,k] * (1 - r[@,k])",
        "dz[@,k] = dh[@,k] * (hp[@,k] - v[@,k]) * z[@,k] * (1 - z[@,k])",
        "dv[@,k] = dh[@,k] * (1 - z[@,k]) * (1 - v[@,k]**2)",
    ),
    "ds", "dq",
)  # fmt: skip
BIASES = {"z": "b[m] + r[m]", "s": "b[m]", "q": "c[m]"}  # of each score


def _placed(lines: tuple[str, ...], at: str, place: str, bias: bool = True) -> list[str]:
    """Return definitions for these indices, the scores with their biases."""
    found = []
    for line in lines:
        name = line.partition("[")[0]
        more = f" + ({BIASES[name]})" if bias and name in BIASES and "[@,m]" in line else ""
        found.append(line.replace("@", at).replace("#", place) + more)
    return found


def _texts(texts: dict[str, tuple[str, list[str]]]) -> dict[str, str]:
    return {
        role: "\n".join([text, *(f"where {line}" for line in where)])
        for role, (text, where) in texts.items()
    }


# ── unrolled ─────────────────────────────────────────────────────────────────────────────────────
def _roles(unit: Unit, batch_first: bool, given: bool) -> dict[str, str]:
    place, first = ("n,t", "0,s") if batch_first else ("t,n", "s,0")
    states = ("h", "c") if unit is LSTM else ("h",)
    before = [
        f"{s}p[t,n,k] = cases(t > 0, {s}[t - 1,n,k], {f'{s}0[0,n,k]' if given else '0'})"
        for s in states
    ]
    past = [*_placed(unit.state, "t,n", place), *before]
    steps = [f"T = sum(s, 1 + 0 * x[{first},0])"]
    back = [*_placed(unit.back, "t,n", place), *_arriving(unit, place), *past, *steps]
    dx, dh, total = unit.of_x, unit.of_h, "sum(t, sum(n, "
    texts = {
        "output": (f"y[{place},k] = h[t,n,k]", past),
        **{
            f"output:{s}_n": (f"a[l,n,k] = sum(t, t > T - 2, {s}[t,n,k])", [*past, *steps])
            for s in states
        },
        "grad_input": (f"dx[{place},e] = sum(m, W[m,e] * {dx}[t,n,m])", back),
        "grad:weight_ih_l0": (f"dW[m,e] = {total}{dx}[t,n,m] * x[{place},e]))", back),
        "grad:weight_hh_l0": (f"dU[m,p] = {total}{dh}[t,n,m] * hp[t,n,p]))", back),
        "grad:bias_ih_l0": (f"db[m] = {total}{dx}[t,n,m]))", back),
        "grad:bias_hh_l0": (f"db[m] = {total}{dh}[t,n,m]))", back),
    }
    if given:
        straight = " + dh[0,n,p] * z[0,n,p]" if unit is GRU else ""
        texts["grad_h_0"] = f"dh0[l,n,p] = sum(m, U[m,p] * {dh}[0,n,m]){straight}", back
    if given and unit is LSTM:
        texts["grad_c_0"] = "dc0[l,n,k] = dc[0,n,k] * f[0,n,k]", back
    return _texts(texts)


def _arriving(unit: Unit, place: str) -> list[str]:
    """Return what arrives at a step from its readers: the outputs and the step after it."""
    last, straight = "t < T - 1", " + dh[t + 1,n,k] * z[t + 1,n,k]" if unit is GRU else ""
    of_c = [
        "dc[t,n,k] = dh[t,n,k] * o[t,n,k] * (1 - tanh(c[t,n,k])**2) "
        f"+ cases({last}, dc[t + 1,n,k] * f[t + 1,n,k], dc_n[0,n,k])",
    ]
    from_next = f"sum(m, U[m,k] * {unit.of_h}[t + 1,n,m]){straight}"
    of_h = f"dh[t,n,k] = dy[{place},k] + cases({last}, {from_next}, dh_n[0,n,k])"
    return [*(of_c if unit is LSTM else []), of_h]


def _named(unit: Unit, *words: str) -> dict[str, str]:
    return {
        f"{role}/{', '.join(parts)}": text
        for batch_first, given in product((False, True), repeat=2)
        for parts in [
            [*words, "one layer", *["batch_first"] * batch_first, *["initial states"] * given]
        ]
        for role, text in _roles(unit, batch_first, given).items()
    }


RNN_EQUATIONS = _named(TANH, "tanh")
GRU_EQUATIONS = _named(GRU)
LSTM_EQUATIONS = _named(LSTM)


# ── cells ────────────────────────────────────────────────────────────────────────────────────────
def _cell_roles(unit: Unit, bias: bool, given: bool) -> dict[str, str]:
    states = ("h", "c") if unit is LSTM else ("h",)
    before = [f"{s}p[n,k] = {f'{s}0[n,k]' if given else '0'}" for s in states]
    past = [*_placed(unit.state, "n", "n", bias), *before]
    of_c = "dc[n,k] = dc_n[n,k] + dh[n,k] * o[n,k] * (1 - tanh(c[n,k])**2)"
    arriving = [*([of_c] if unit is LSTM else []), "dh[n,k] = dy[n,k]"]
    back, dx, dh = [*_placed(unit.back, "n", "n"), *arriving, *past], unit.of_x, unit.of_h
    texts = {
        "output": ("y[n,k] = h[n,k]", past),
        "grad_input": (f"dx[n,e] = sum(m, W[m,e] * {dx}[n,m])", back),
        "grad:weight_ih": (f"dW[m,e] = sum(n, {dx}[n,m] * x[n,e])", back),
        "grad:weight_hh": (f"dU[m,p] = sum(n, {dh}[n,m] * hp[n,p])", back),
    }
    if bias:
        texts["grad:bias_ih"] = f"db[m] = sum(n, {dx}[n,m])", back
        texts["grad:bias_hh"] = f"db[m] = sum(n, {dh}[n,m])", back
    if unit is LSTM:
        texts["output:c_1"] = "a[n,k] = c[n,k]", past
    if given:
        straight = " + dh[n,p] * z[n,p]" if unit is GRU else ""
        name = "grad_h_0" if unit is LSTM else "grad_hx"
        texts[name] = f"dh0[n,p] = sum(m, U[m,p] * {dh}[n,m]){straight}", back
    if given and unit is LSTM:
        texts["grad_c_0"] = "dc0[n,k] = dc[n,k] * f[n,k]", back
    return _texts(texts)


def _cell(unit: Unit, *words: str) -> dict[str, str]:
    return {
        f"{role}/{variant}" if variant else role: text
        for bias, given in product((True, False), (False, True))
        for variant in [", ".join([*words, *["no bias_ih"] * (not bias), *["given state"] * given])]
        for role, text in _cell_roles(unit, bias, given).items()
    }


RNN_CELL = _cell(TANH) | _cell(RELU, "relu")
GRU_CELL = _cell(GRU)
LSTM_CELL = _cell(LSTM)
