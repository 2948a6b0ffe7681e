"""The examples of MultiheadAttention: every option, small enough for balls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from manual.examples import Example

__all__ = ["EXAMPLES"]

CAUSAL = np.triu(np.ones((3, 3), bool), 1)
PADDING = np.array([[False, False, True], [False, True, False]])
BY_HEAD = np.stack([CAUSAL, CAUSAL[::-1], CAUSAL.T, np.zeros((3, 3), bool)])
BLIND = np.array([[False, True], [True, True]])  # the second query sees nothing
HIDES = np.array([[0.5, -np.inf, 0.0], [-1.0, 0.25, -np.inf], [0.0, 0.0, 2.0]])


def _example(
    arguments: Mapping[str, Any], *inputs: Any, sizes: tuple[int, int] = (4, 2), **rest: Any
) -> Example:
    embed_dim, num_heads = sizes
    masks = [None] * (5 - len(inputs))
    given = {"embed_dim": embed_dim, "num_heads": num_heads, **arguments}
    return Example(given, (*inputs, *masks), **rest)


THREE = ((3, 2, 4),) * 3
FIRST = ((2, 3, 4),) * 3  # batch first

EXAMPLES = (
    _example({}, (2, 2, 4), (3, 2, 4), (3, 2, 4)),
    _example({}, *((3, 2, 2),) * 3, sizes=(2, 1)),
    _example({"batch_first": True}, *((1, 2, 2),) * 3, sizes=(2, 1)),
    _example({"bias": False, "batch_first": True}, *FIRST, None, CAUSAL),
    _example({}, *THREE, PADDING, None),
    _example({}, *THREE, PADDING, BY_HEAD),
    _example({}, *THREE, None, (3, 3)),  # float masks are added, and have gradients
    _example({}, *THREE, (2, 3), (4, 3, 3)),
    _example({}, *THREE, None, HIDES, fixed=("attn_mask",)),
    _example({}, (2, 4), (3, 4), (3, 4), (3,), None),  # unbatched
    _example({"kdim": 3, "vdim": 2}, (2, 1, 4), (3, 1, 3), (3, 1, 2)),
    _example({"vdim": 3, "bias": False}, (2, 1, 4), (2, 1, 4), (2, 1, 3)),
    _example({"add_bias_kv": True}, *THREE, PADDING, None),
    _example({"add_zero_attn": True}, *THREE, None, CAUSAL),
    _example(
        {"add_bias_kv": True, "add_zero_attn": True, "average_attn_weights": False},
        *((2, 3, 2),) * 3,
        (3, 2),
        (2, 2),
        sizes=(2, 1),
    ),
    _example({"dropout": 0.4}, *THREE, None, CAUSAL),
    _example({"dropout": 0.4, "average_attn_weights": False}, *((3, 4),) * 3),
    _example({"dropout": 0.3, "need_weights": False, "batch_first": True}, *FIRST),
    _example({"dropout": 0.3}, *THREE, training=False, noise=False),
    _example({"need_weights": False}, *((2, 2, 4),) * 3, None, BLIND),
    _example({"need_weights": False, "is_causal": True}, *THREE, None, CAUSAL),
    _example({"is_causal": True}, *THREE, PADDING, CAUSAL),  # the hint changes nothing
)
