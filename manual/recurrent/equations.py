"""What an LSTM of one layer in one direction computes, in the index language, variant by variant.

Rows of W, U and b: gate i first, f from H, g from H + H, o from H + H + H. T is the number of
steps. `dh_n` and `dc_n` are the gradients upstream of the outputs of those names.
"""

from __future__ import annotations

from itertools import product

__all__ = ["EQUATIONS", "SYMBOLS"]

SYMBOLS = {
    "W": "weight_ih_l0", "U": "weight_hh_l0", "b": "bias_ih_l0", "r": "bias_hh_l0",
    "h0": "h_0", "c0": "c_0", "H": "hidden_size",
    "dh_n": "grad_output.1", "dc_n": "grad_output.2",
}  # fmt: skip


def _past(place: str, given: bool) -> list[str]:
    """Return the definitions of the gates and states; hp and cp are those of the step before."""
    h0, c0 = ("h0[0,n,k]", "c0[0,n,k]") if given else ("0", "0")
    return [
        "h[t,n,k] = o[t,n,k] * tanh(c[t,n,k])",
        "c[t,n,k] = f[t,n,k] * cp[t,n,k] + i[t,n,k] * g[t,n,k]",
        f"hp[t,n,k] = cases(t > 0, h[t - 1,n,k], {h0})",
        f"cp[t,n,k] = cases(t > 0, c[t - 1,n,k], {c0})",
        "i[t,n,k] = sigma(z[t,n,k])",
        "f[t,n,k] = sigma(z[t,n,k + H])",
        "g[t,n,k] = tanh(z[t,n,k + H + H])",
        "o[t,n,k] = sigma(z[t,n,k + H + H + H])",
        f"z[t,n,m] = sum(e, W[m,e] * x[{place},e]) + sum(p, U[m,p] * hp[t,n,p]) + (b[m] + r[m])",
    ]


def _back(place: str) -> list[str]:
    """Return the definitions of the gradients: dz of the scores, dc of the states."""
    last = "t < T - 1"
    of_i = "dc[t,n,m] * g[t,n,m] * i[t,n,m] * (1 - i[t,n,m])"
    of_f = "dc[t,n,m - H] * cp[t,n,m - H] * f[t,n,m - H] * (1 - f[t,n,m - H])"
    of_g = "dc[t,n,m - H - H] * i[t,n,m - H - H] * (1 - g[t,n,m - H - H]**2)"
    k = "m - H - H - H"
    of_o = f"dh[t,n,{k}] * tanh(c[t,n,{k}]) * o[t,n,{k}] * (1 - o[t,n,{k}])"
    return [
        f"dz[t,n,m] = cases(m < H, {of_i}, cases(m < H + H, {of_f}, "
        f"cases(m < H + H + H, {of_g}, {of_o})))",
        "dc[t,n,k] = dh[t,n,k] * o[t,n,k] * (1 - tanh(c[t,n,k])**2) "
        f"+ cases({last}, dc[t + 1,n,k] * f[t + 1,n,k], dc_n[0,n,k])",
        f"dh[t,n,k] = dy[{place},k] + cases({last}, sum(m, U[m,k] * dz[t + 1,n,m]), dh_n[0,n,k])",
    ]


def _roles(batch_first: bool, given: bool) -> dict[str, str]:
    place, first = ("n,t", "0,s") if batch_first else ("t,n", "s,0")
    past, steps = _past(place, given), [f"T = sum(s, 1 + 0 * x[{first},0])"]
    back = [*_back(place), *past, *steps]
    total = "sum(t, sum(n, dz[t,n,m]"
    texts = {
        "output": (f"y[{place},k] = h[t,n,k]", past),
        "output:h_n": ("a[l,n,k] = sum(t, t > T - 2, h[t,n,k])", [*past, *steps]),
        "output:c_n": ("a[l,n,k] = sum(t, t > T - 2, c[t,n,k])", [*past, *steps]),
        "grad_input": (f"dx[{place},e] = sum(m, W[m,e] * dz[t,n,m])", back),
        "grad:weight_ih_l0": (f"dW[m,e] = {total} * x[{place},e]))", back),
        "grad:weight_hh_l0": (f"dU[m,p] = {total} * hp[t,n,p]))", back),
        "grad:bias_ih_l0": (f"db[m] = {total}))", back),
        "grad:bias_hh_l0": (f"dr[m] = {total}))", back),
    }
    if given:
        texts["grad_h_0"] = "dh0[l,n,p] = sum(m, U[m,p] * dz[0,n,m])", back
        texts["grad_c_0"] = "dc0[l,n,k] = dc[0,n,k] * f[0,n,k]", back
    return {
        role: "\n".join([text, *(f"where {line}" for line in where)])
        for role, (text, where) in texts.items()
    }


def _named(batch_first: bool, given: bool) -> dict[str, str]:
    parts = ["one layer", *["batch_first"] * batch_first, *["initial states"] * given]
    return {f"{role}/{', '.join(parts)}": t for role, t in _roles(batch_first, given).items()}


EQUATIONS = {
    name: text
    for batch_first, given in product((False, True), repeat=2)
    for name, text in _named(batch_first, given).items()
}
