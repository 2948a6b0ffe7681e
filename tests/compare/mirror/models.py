"""The zoo: small torch models as people write them, one function each."""

from __future__ import annotations

import torch

from tests.compare.mirror.example import Example, Maker
from tests.compare.mirror.zoo import language, science, sequences, structures, vision

MODELS: dict[str, Maker] = {
    maker.__name__: maker
    for part in (language, sequences, vision, structures, science)
    for maker in part.MODELS
}


def made(name: str, training: bool = True) -> Example:
    """Make a model of the zoo, the same at every call; the generator is left as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        example = MODELS[name]()
    example.module.train(training)
    return example
