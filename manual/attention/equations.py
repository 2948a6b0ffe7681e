"""What attention in one head computes without masks, in the index language.

Rows of W and b: the query's first, the key's from E, the value's from E + E.
"""

from __future__ import annotations

__all__ = ["EQUATIONS", "SYMBOLS"]

SYMBOLS = {
    "Q": "query", "K": "key", "V": "value", "W": "in_proj_weight", "b": "in_proj_bias",
    "O": "out_proj.weight", "c": "out_proj.bias", "E": "embed_dim",
}  # fmt: skip


def _place(time: str, batch_first: bool) -> str:
    return f"n,{time}" if batch_first else f"{time},n"


def _context(batch_first: bool) -> list[str]:
    """Return the definitions of what the head finds, o, of its weights a, and so on inwards."""
    row, of = _place("l", batch_first), _place("s", batch_first)
    return [
        "o[n,l,j] = sum(s, a[n,l,s] * v[n,s,j])",
        "a[n,l,s] = exp(z[n,l,s]) / sum(u, exp(z[n,l,u]))",
        "z[n,l,s] = sum(j, j < E, q[n,l,j] * k[n,s,j]) / sqrt(E)",
        f"q[n,l,j] = sum(i, Q[{row},i] * W[j,i]) + b[j]",
        f"k[n,s,j] = sum(i, K[{of},i] * W[j + E,i]) + b[j + E]",
        f"v[n,s,j] = sum(i, V[{of},i] * W[j + E + E,i]) + b[j + E + E]",
    ]


def _roles(batch_first: bool) -> dict[str, str]:
    row, context = _place("l", batch_first), _context(batch_first)
    over_rows = f"sum(n, sum(l, dy[{row},e]"
    texts = {
        "output": f"y[{row},e] = sum(j, O[e,j] * o[n,l,j]) + c[e]",
        "output:weights": "w[n,l,s] = a[n,l,s]",
        "grad:out_proj.weight": f"dO[e,j] = {over_rows} * o[n,l,j]))",
        "grad:out_proj.bias": f"dc[e] = {over_rows}))",
    }
    return {
        role: "\n".join([text, *(f"where {line}" for line in context)])
        for role, text in texts.items()
    }


EQUATIONS = {
    f"{role}/one head{', batch_first' if batch_first else ''}": text
    for batch_first in (False, True)
    for role, text in _roles(batch_first).items()
}
