"""Transformers beside torch.nn's, on the draws of one generator; refusals; planted mistakes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from manual import transformer
from manual.activations import SiLU, Tanh
from manual.graph import Graph, Node
from manual.layer import Layer
from manual.norm import LayerNorm
from manual.transformer import (
    Transformer,
    TransformerDecoder,
    TransformerDecoderLayer,
    TransformerEncoder,
    TransformerEncoderLayer,
)
from torch_ref import as_torch
from torch_ref.classes import module_class
from torch_ref.side import TorchSide


class Description(NamedTuple):
    name: str
    type: str
    args: Mapping[str, Any]
    inputs: tuple[str, ...]


SMALL: dict[str, Any] = {"d_model": 4, "nhead": 2, "dim_feedforward": 3}
CAUSAL = np.triu(np.ones((3, 3), bool), 1)


def filled(layer: Layer, seed: int = 0) -> Layer:
    rng = np.random.default_rng(seed)
    return layer.with_params({k: rng.standard_normal(p.shape) for k, p in layer.params.items()})


def sequences(*shapes: tuple[int, ...], seed: int = 1) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape) for shape in shapes]


def run(module: Any, arrays: list[Any], options: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the output and every gradient of a module, drawing from one seed."""
    leaves = [
        None if x is None else torch.tensor(x, requires_grad=x.dtype == float) for x in arrays
    ]
    torch.manual_seed(5)
    y = module(*leaves, **options)
    torch.manual_seed(6)
    y.backward(torch.randn_like(y))
    found = {"output": y.detach().numpy()}
    inputs = {f"input {i}": x.grad for i, x in enumerate(leaves) if x is not None}
    grads = inputs | {k: p.grad for k, p in module.named_parameters()}
    return found | {k: g.numpy() for k, g in grads.items() if g is not None}


def check(layer: Layer, arguments: Mapping[str, Any], arrays: list[Any]) -> None:
    """Compare with torch's module of the class's name, in the layer's mode."""
    called = {k: v for k, v in arguments.items() if k in layer.call_arguments}  # type: ignore[attr-defined]
    theirs = {k: v for k, v in arguments.items() if k not in called}
    name = next(c.__name__ for c in type(layer).mro() if hasattr(transformer, c.__name__))
    twin = module_class(name)(**theirs).double().train(layer.training)
    assert list(twin.state_dict()) == list(layer.params)
    twin.load_state_dict({k: torch.tensor(p) for k, p in layer.params.items()})
    mine, other = run(as_torch(layer).train(layer.training), arrays, {}), run(twin, arrays, called)
    assert mine.keys() == other.keys()
    for key, value in other.items():
        np.testing.assert_allclose(mine[key], value, rtol=1e-10, atol=1e-11, err_msg=key)


STACK = {"encoder_layer": {**SMALL, "dropout": 0.3}, "num_layers": 2}
CASES: list[tuple[type[Layer], dict[str, Any], list[Any]]] = [
    (TransformerEncoderLayer, {**SMALL, "dropout": 0.3}, sequences((3, 2, 4))),
    (TransformerEncoderLayer, {**SMALL, "dropout": 1.0}, sequences((3, 2, 4))),
    (
        TransformerEncoderLayer,
        {**SMALL, "dropout": 0.0, "is_causal": True},
        [*sequences((3, 2, 4)), ~CAUSAL],  # the hint takes the mask's place
    ),
    (TransformerEncoder, {**STACK, "norm": {"normalized_shape": 4}}, sequences((3, 2, 4))),
    (TransformerEncoder, STACK, [*sequences((3, 2, 4)), CAUSAL]),
    (TransformerDecoderLayer, {**SMALL, "dropout": 0.3}, sequences((3, 2, 4), (2, 2, 4))),
    (
        TransformerDecoder,
        {"decoder_layer": {**SMALL, "norm_first": True}, "num_layers": 2, "tgt_is_causal": True},
        [*sequences((3, 2, 4), (3, 2, 4)), CAUSAL],
    ),
    (
        Transformer,
        {**SMALL, "num_encoder_layers": 2, "num_decoder_layers": 1, "activation": "gelu"},
        sequences((3, 2, 4), (2, 2, 4)),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("cls", "arguments", "arrays"), CASES)
@pytest.mark.parametrize("training", [True, False])
def test_one_generator_gives_torchs_draws_outputs_and_gradients(
    cls: type[Layer], arguments: dict[str, Any], arrays: list[Any], training: bool
) -> None:
    check(filled(cls(**arguments)).train(training), arguments, arrays)


@pytest.mark.parametrize("piece", ["linear1", "self_attn", "norm2", "dropout"])
def test_a_mistake_in_any_piece_is_rejected(piece: str) -> None:
    arguments = {**SMALL, "dropout": 0.3}
    layer: Any = filled(TransformerEncoderLayer(**arguments))
    node = next(n for n in layer.graph.nodes if n.name == piece)

    class Wrong(type(node.layer)):  # type: ignore[misc]
        def backward(self, grad_output: Any, cache: Any) -> Any:
            grads, own = super().backward(grad_output, cache)
            return (1.001 * grads[0], *grads[1:]), own

    wrong = object.__new__(Wrong)
    wrong.__dict__ = dict(vars(node.layer))
    layer = layer._twin(graph=layer.graph.with_layers({piece: wrong}))

    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check(layer, arguments, sequences((3, 2, 4)))


def test_an_activation_may_be_any_layer() -> None:
    arguments = {**SMALL, "dropout": 0.0}
    layer = filled(TransformerEncoderLayer(**arguments, activation=Tanh()))
    x = sequences((3, 2, 4))
    twin = torch.nn.TransformerEncoderLayer(**arguments, activation=torch.tanh).double()
    twin.load_state_dict({k: torch.tensor(p) for k, p in layer.params.items()})
    mine, theirs = run(as_torch(layer), x, {}), run(twin, x, {})

    np.testing.assert_allclose(mine["input 0"], theirs["input 0"], rtol=1e-10, atol=1e-12)


def test_a_layer_may_be_given_itself_and_each_copy_has_its_own_parameters() -> None:
    layer = TransformerEncoderLayer(**SMALL, activation=SiLU())
    stack = TransformerEncoder(layer, 2, LayerNorm(4))

    assert len(stack.params) == 2 * len(layer.params) + 2
    assert "layers.1.self_attn.in_proj_weight" in stack.params


def test_a_graph_takes_it_as_one_node_and_trains_in_its_own_draws() -> None:
    layer = filled(TransformerEncoderLayer(**SMALL, dropout=0.5))
    graph = Graph([Node("block", layer, ("input",))])
    x = sequences((3, 2, 4))[0]
    tape = graph.run(x, noise=np.random.default_rng(0))
    again = graph.run(x, noise=tape.noise)

    assert len(tape.noise["block"]) == 4
    np.testing.assert_array_equal(tape.output, again.output)
    assert not np.array_equal(graph.run(x).output, tape.output)


def test_torchs_fast_path_is_off_on_the_torch_side_for_it_leaves_padding_out() -> None:
    twin = torch.nn.TransformerEncoder(
        torch.nn.TransformerEncoderLayer(4, 2, 3, 0.0, batch_first=True), 1
    ).eval()
    x, padding = torch.randn(2, 3, 4), torch.tensor([[False, False, True]] * 2)
    torch.backends.mha.set_fastpath_enabled(True)
    with torch.no_grad(), pytest.warns(UserWarning, match="nested tensors"):
        left_out = twin(x, src_key_padding_mask=padding)[:, 2]
    TorchSide(
        [Description("0", "Linear", {"in_features": 1, "out_features": 1}, ("input",))],
        ("MSELoss", {}),
    )
    with torch.no_grad():
        computed = twin(x, src_key_padding_mask=padding)[:, 2]

    assert not left_out.any()
    assert computed.all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TransformerEncoderLayer(5, 2), "num_heads must divide embed_dim"),
        (lambda: TransformerEncoderLayer(4, 2, activation="tanh"), "'relu', 'gelu' or a layer"),
        (lambda: TransformerEncoderLayer(4, 2, dropout=1.5), "between 0 and 1, received 1.5"),
        (lambda: TransformerEncoder(SMALL, 0), "num_layers must be 1 or more, received 0"),
        (lambda: TransformerDecoder(LayerNorm(4), 1), "decoder_layer must be a Transf.* LayerNorm"),  # type: ignore[arg-type]
        (lambda: Transformer(**SMALL).forward(*sequences((3, 2, 4), (3, 1, 4))), "with one N"),
        (lambda: Transformer(**SMALL).forward(*sequences((3, 2, 5), (3, 2, 5))), "d_model = 4"),
        (
            lambda: TransformerEncoderLayer(**SMALL).forward(
                *sequences((3, 2, 4)), noise=(CAUSAL,)
            ),
            "noise must be a tuple of 4 masks, of self_attn, dropout1, dropout, dropout2",
        ),
        (
            lambda: TransformerEncoderLayer(**SMALL).forward(*sequences((3, 2, 4)), CAUSAL[:2]),
            "attn_mask must have the shape",
        ),
    ],
)  # fmt: skip
def test_what_torch_refuses_is_refused_in_a_sentence(make: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        make()
