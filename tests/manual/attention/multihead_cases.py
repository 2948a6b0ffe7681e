"""MultiheadAttention and its inputs by a few words: the cases of its tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from manual.attention import MultiheadAttention
from manual.examples import Example
from tests.manual.sequence_checks import (
    filled,
    shown,
)

EXAMPLES = pytest.mark.parametrize("example", MultiheadAttention.examples, ids=shown)
NAMES = ("query", "key", "value", "key_padding_mask", "attn_mask")


def fixed(example: Example) -> list[int]:
    return [NAMES.index(name) for name in example.fixed]


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[str, Any], tuple[int, int, int], bool, str, str]:
    """Draw arguments, sizes N, L and S, whether there is a batch axis, and the kinds of masks."""
    heads, flag = draw(st.integers(1, 3)), st.booleans()
    width = st.sampled_from([None, None, 3])
    arguments = {
        "embed_dim": heads * draw(st.integers(1, 3)),
        "num_heads": heads,
        "dropout": draw(st.sampled_from([0.0, 0.4, 1.0])),
        "bias": draw(flag),
        "add_bias_kv": draw(flag),
        "add_zero_attn": draw(flag),
        "kdim": draw(width),
        "vdim": draw(width),
        "batch_first": draw(flag),
        "need_weights": draw(flag),
        "average_attn_weights": draw(flag),
    }
    sizes = (draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    padding = draw(st.sampled_from(["", "bool", "float"]))
    attention = draw(st.sampled_from(["", "bool", "float", "bool by head", "float by head"]))
    return arguments, sizes, draw(flag), padding, attention


def made(case: tuple, seed: int) -> tuple[Any, list[Any]]:
    arguments, (n, length, steps), batched, padding, attention = case
    rng = np.random.default_rng(seed)
    layer = filled(MultiheadAttention(**arguments), rng)
    n = n if batched else 1

    def sequence(time: int, width: int | None) -> np.ndarray:
        shape = (n, time) if arguments.get("batch_first") else (time, n)
        return rng.standard_normal((*(shape if batched else (time,)), width or layer.embed_dim))  # type: ignore[attr-defined]

    def mask(kind: str, shape: tuple[int, ...]) -> np.ndarray | None:
        """Hide a third, but never the first key, so that every query sees something."""
        if not kind:
            return None
        hidden = rng.random(shape) < 0.3
        hidden[..., :1] = False
        return np.where(hidden, -np.inf, rng.standard_normal(shape)) if "float" in kind else hidden

    inputs = [
        sequence(length, None),
        sequence(steps, arguments.get("kdim")),
        sequence(steps, arguments.get("vdim")),
        mask(padding, (n, steps) if batched else (steps,)),
        mask(
            attention,
            (n * arguments["num_heads"], length, steps)
            if "by head" in attention
            else (length, steps),
        ),
    ]
    return layer, inputs


PLAIN = ({"embed_dim": 4, "num_heads": 2}, (2, 3, 3), True, "", "")


def case_of(arguments: dict, padding: str = "", attention: str = "") -> tuple:
    return ({**PLAIN[0], **arguments}, *PLAIN[1:3], padding, attention)
