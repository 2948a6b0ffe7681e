"""What the layers of a Transformer share: their pieces, and how arguments are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from manual.activations import GELU, ReLU
from manual.attention import MultiheadAttention
from manual.dropout import Dropout
from manual.joins import Add
from manual.layer import Array, Layer
from manual.linear import Linear
from manual.nodes import Node
from manual.norm import LayerNorm

ACTIVATIONS: dict[str, type[Layer]] = {"relu": ReLU, "gelu": GELU}


@dataclass(frozen=True)
class Sizes:
    """The arguments that the layers of both stacks have.

    Args:
        d_model: E, the size of a position's vector.
        nhead: the number of heads; it divides E.
        dim_feedforward: the width between the two linear layers.
        dropout: the probability of dropping, everywhere.
        activation: "relu", "gelu" or a layer.
        layer_norm_eps: ε of the norms.
        batch_first: sequences are (N, T, E) instead of (T, N, E).
        norm_first: norms stand before each block instead of after each sum.
        bias: whether linear layers and norms add a vector.
    """

    d_model: int
    nhead: int
    dim_feedforward: int
    dropout: float
    activation: Any
    layer_norm_eps: float
    batch_first: bool
    norm_first: bool
    bias: bool

    def attention(self, is_causal: Any) -> MultiheadAttention:
        return MultiheadAttention(
            self.d_model, self.nhead, dropout=self.dropout, bias=self.bias,
            batch_first=self.batch_first, need_weights=False, is_causal=is_causal,
        )  # fmt: skip

    def norm(self) -> LayerNorm:
        return LayerNorm(self.d_model, eps=self.layer_norm_eps, bias=self.bias)

    def block(self, number: int, x: str, inner: list[Node]) -> tuple[list[Node], str]:
        """Return the nodes of x + dropout(inner(x)), normalised on one side, and what they give.

        `inner` takes `x` by the name "x"; its last node is dropped out, added and handed on.
        """
        norm, added = Node(f"norm{number}", self.norm(), ()), f"residual{number}"
        source = norm.name if self.norm_first else x
        given = [n._replace(inputs=tuple(_fed(s, source) for s in n.inputs)) for n in inner]
        drop = Node(f"dropout{number}", Dropout(self.dropout), (inner[-1].name,))
        total = Node(added, Add(), (x, drop.name))
        if self.norm_first:
            return [norm._replace(inputs=(x,)), *given, drop, total], added
        return [*given, drop, total, norm._replace(inputs=(added,))], norm.name

    def feed_forward(self) -> list[Node]:
        """Return the nodes of W₂ dropout(φ(W₁ x + b₁)) + b₂, for each position alone."""
        wide, narrow = self.dim_feedforward, self.d_model
        return [
            Node("linear1", Linear(narrow, wide, bias=self.bias), ("x",)),
            Node("activation", _activation(self.activation), ("linear1",)),
            Node("dropout", Dropout(self.dropout), ("activation",)),
            Node("linear2", Linear(wide, narrow, bias=self.bias), ("dropout",)),
        ]

    def shown(self) -> str:
        usual = {
            "dim_feedforward": 2048, "dropout": 0.1, "activation": "relu", "layer_norm_eps": 1e-5,
            "batch_first": False, "norm_first": False, "bias": True,
        }  # fmt: skip
        rest = [f"{k}={getattr(self, k)!r}" for k, v in usual.items() if getattr(self, k) != v]
        return ", ".join([f"{self.d_model}, {self.nhead}", *rest])


def _fed(name: str, source: str) -> str:
    return name.replace("=x", f"={source}") if "=" in name else source if name == "x" else name


def _activation(given: Any) -> Layer:
    _check_activation(given)
    return ACTIVATIONS[given]() if isinstance(given, str) else given


def _check_activation(given: Any) -> None:
    if given not in ACTIVATIONS if isinstance(given, str) else not hasattr(given, "backward"):
        raise ValueError(
            f"activation must be 'relu', 'gelu' or a layer, as manual.SiLU(), received {given!r}."
        )


def made(given: Any, kind: type[Layer], owner: str, argument: str) -> Any:
    """Return a layer of this kind: the one that is given, or what its arguments by name make."""
    if isinstance(given, Mapping):
        return kind(**given)
    if not isinstance(given, kind):
        raise TypeError(
            f"{owner}: {argument} must be a {kind.__name__} or its arguments by name, received "
            f"{type(given).__name__}."
        )
    return given


def check_count(owner: str, num_layers: int) -> None:
    if num_layers < 1:
        raise ValueError(f"{owner}: num_layers must be 1 or more, received {num_layers}.")


def check_pair(src: Array, tgt: Array, sizes: Sizes) -> None:
    """Refuse two sequences that are not of one batch, or not of d_model's width."""
    batch = 0 if sizes.batch_first else 1
    apart = src.ndim == 3 == tgt.ndim and src.shape[batch] != tgt.shape[batch]
    if apart or not src.shape[-1] == tgt.shape[-1] == sizes.d_model:
        layout = "(N, T, E)" if sizes.batch_first else "(T, N, E)"
        raise ValueError(
            f"Transformer: src and tgt must be {layout} with one N and E = d_model = "
            f"{sizes.d_model}, received {tuple(src.shape)} and {tuple(tgt.shape)}. Set batch_first "
            "or d_model to what the data are."
        )
