"""Classes that torch.nn has as well: their examples, and torch's own modules of these."""

from __future__ import annotations

import torch
from torch import nn

from compare.pair.example import Made
from manual import registry
from manual.examples import Example
from manual.layer import Layer

OPENED = {  # made of other modules, or called by names
    "MultiheadAttention", "Transformer", "TransformerDecoder", "TransformerEncoder",
}  # fmt: skip
CLASSES = {
    name: cls
    for name, cls in {**registry.LAYERS, **registry.LOSSES}.items()
    if hasattr(nn, name) and name not in OPENED
}


RECURRENT = {"RNN": 2, "GRU": 2, "LSTM": 3}  # inputs that torch's class takes


def examples(name: str) -> list[Example]:
    """Return what torch's own class takes, where its gradient is a derivative."""
    return [
        example
        for example in CLASSES[name].examples
        if not example.convention
        and "_random_samples" not in example.arguments
        and not any(isinstance(v, Layer) for v in example.arguments.values())
        and not (name in RECURRENT and example.inputs[RECURRENT[name] :])  # of packed sequences
    ]


def torchs(case: Made, example: Example) -> nn.Module:
    """Return torch's module with the hand-written layer's parameters."""
    tensors = {
        k: torch.tensor(v, dtype=torch.float64) if isinstance(v, list) and "weight" in k else v
        for k, v in example.arguments.items()
    }
    torch.manual_seed(0)
    module: nn.Module = getattr(nn, type(case.layer).__name__)(**tensors).double()
    with torch.no_grad():
        for key, parameter in module.named_parameters():
            parameter.copy_(torch.tensor(case.layer.params[key]))
    return module.train(example.training)
