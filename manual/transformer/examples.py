"""The examples of Transformers: every option once, small enough for balls."""

from __future__ import annotations

import numpy as np

from manual.examples import Example

__all__ = ["DECODER", "DECODER_LAYER", "ENCODER", "ENCODER_LAYER", "TRANSFORMER"]

CAUSAL = np.triu(np.ones((2, 2), bool), 1)
LAST = np.array(
    [[False, True], [False, False]]
)  # of the first sample, the last position is padding

PLAIN = {"d_model": 3, "nhead": 1, "dim_feedforward": 3, "dropout": 0.0}
FIRST = {**PLAIN, "activation": "gelu", "batch_first": True, "norm_first": True, "bias": False}
HEADS = {**PLAIN, "d_model": 4, "nhead": 2, "layer_norm_eps": 0.25}
NOISY = {**PLAIN, "dropout": 0.4}

ENCODER_LAYER = (
    Example(HEADS, ((3, 2, 4),)),
    Example(FIRST, ((2, 2, 3), CAUSAL, LAST)),
    Example(NOISY, ((2, 3),)),
    Example({**NOISY, "norm_first": True}, ((2, 2, 3), (2, 2)), training=False, noise=False),
)
ENCODER = (
    Example({"encoder_layer": FIRST, "num_layers": 2}, ((2, 2, 3), (2, 2), (2, 2))),
    Example(
        {"encoder_layer": NOISY, "num_layers": 2, "norm": {"normalized_shape": 3}}, ((2, 1, 3),)
    ),
)
DECODER_LAYER = (
    Example(HEADS, ((2, 2, 4), (3, 2, 4))),
    Example(FIRST, ((2, 2, 3), (2, 2, 3), CAUSAL, (2, 2), LAST, (2, 2))),
    Example(NOISY, ((2, 3), (3, 3))),
    Example({**NOISY, "norm_first": True}, ((2, 1, 3), (2, 1, 3)), training=False, noise=False),
)
DECODER = (
    Example({"decoder_layer": FIRST, "num_layers": 2}, ((2, 2, 3), (2, 2, 3), (2, 2), CAUSAL)),
    Example(
        {"decoder_layer": NOISY, "num_layers": 2, "norm": {"normalized_shape": 3}},
        ((2, 1, 3), (1, 1, 3)),
    ),
)
ONE = {"num_encoder_layers": 1, "num_decoder_layers": 1}
TRANSFORMER = (
    Example({**PLAIN, **ONE}, ((2, 1, 3), (1, 1, 3))),
    Example(
        {**FIRST, **ONE, "num_decoder_layers": 2},
        ((2, 2, 3), (2, 2, 3), CAUSAL, (2, 2), (2, 2), LAST, (2, 2), (2, 2)),
    ),
    Example({**NOISY, **ONE}, ((2, 3), (2, 3))),
)
