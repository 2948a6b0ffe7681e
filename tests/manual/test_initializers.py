"""Initial weights: bounds and variances against torch.nn.init's, determinism, and bad arguments."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from manual.graph import Graph
from manual.initializers import INITIALIZERS, calculate_gain, fans, initialize
from manual.maxout import Maxout

OUT, IN = 300, 200
SHAPES = {"0.weight": (OUT, IN), "0.bias": (OUT,)}
ULP = 1 + 2.0**-23


def drawn(scheme: str, seed: int = 0, **args: Any) -> dict[str, np.ndarray]:
    return initialize(SHAPES, scheme, np.random.default_rng(seed), **args)


def torch_drawn(scheme: str, **args: Any) -> torch.Tensor:
    """Draw the same shape with torch.nn.init's function of the same name."""
    tensor = torch.empty(OUT, IN, dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    return getattr(nn.init, f"{scheme}_")(tensor, generator=generator, **args)


def like(ours: np.ndarray, theirs: torch.Tensor) -> bool:
    """Whether 60,000 draws of each have one mean, standard deviation and outermost value.

    The standard error of a standard deviation is 0.3 %; the mean's is s / 245.
    """
    std = theirs.std().item()
    means = abs(ours.mean() - theirs.mean().item()) < 8 * std / math.sqrt(ours.size)
    spreads = ours.std() == pytest.approx(std, rel=0.02)
    return (
        means and spreads and abs(ours).max() == pytest.approx(theirs.abs().max().item(), rel=0.2)
    )


FAN_SCHEMES: list[tuple[str, dict[str, Any]]] = [
    ("xavier_uniform", {}),
    ("xavier_uniform", {"gain": 5 / 3}),
    ("xavier_normal", {}),
    ("xavier_normal", {"gain": 0.5}),
    *(
        (scheme, {"mode": mode, "nonlinearity": nonlinearity, "a": 0.2})
        for scheme in ("kaiming_uniform", "kaiming_normal")
        for mode in ("fan_in", "fan_out")
        for nonlinearity in ("relu", "leaky_relu", "tanh")
    ),
    ("kaiming_uniform", {}),
    ("kaiming_normal", {}),
]


@pytest.mark.parametrize(("scheme", "args"), FAN_SCHEMES)
def test_weights_are_distributed_as_torchs(scheme: str, args: dict[str, Any]) -> None:
    assert like(drawn(scheme, **args)["0.weight"], torch_drawn(scheme, **args))


@pytest.mark.parametrize(
    ("scheme", "args", "mistake"),
    [
        ("xavier_uniform", {}, "xavier_normal"),
        ("xavier_normal", {}, "xavier_uniform"),
        ("kaiming_normal", {}, "kaiming_uniform"),
    ],
)
def test_another_distribution_of_the_same_variance_is_caught(
    scheme: str, args: dict, mistake: str
) -> None:
    assert not like(drawn(mistake, **args)["0.weight"], torch_drawn(scheme, **args))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"mode": "fan_out"}, {"mode": "fan_in"}),  # fans swapped
        ({"nonlinearity": "linear"}, {"nonlinearity": "relu"}),  # gain forgotten
        ({"a": 0.5}, {"a": 0.0}),  # slope
    ],
)
@pytest.mark.parametrize("scheme", ["kaiming_uniform", "kaiming_normal"])
def test_wrong_fans_gain_or_slope_are_caught(scheme: str, ours: dict, theirs: dict) -> None:
    assert not like(drawn(scheme, **ours)["0.weight"], torch_drawn(scheme, **theirs))


@pytest.mark.parametrize(
    "nonlinearity", ["linear", "sigmoid", "tanh", "relu", "leaky_relu", "selu"]
)
@pytest.mark.parametrize("a", [0.01, 0.0, 0.3, math.sqrt(5)])
def test_gains_are_torchs(nonlinearity: Any, a: float) -> None:
    assert calculate_gain(nonlinearity, a) == nn.init.calculate_gain(nonlinearity, a)


@pytest.mark.parametrize(("scheme", "args", "bound"), [
    ("xavier_uniform", {}, math.sqrt(6 / (IN + OUT))),
    ("kaiming_uniform", {"nonlinearity": "relu"}, math.sqrt(6 / IN)),
    ("kaiming_uniform", {"nonlinearity": "relu", "mode": "fan_out"}, math.sqrt(6 / OUT)),
    ("default", {}, 1 / math.sqrt(IN)),
])  # fmt: skip
def test_uniform_schemes_fill_their_bounds(scheme: str, args: dict, bound: float) -> None:
    weight = drawn(scheme, **args)["0.weight"]

    assert 0.999 * bound < abs(weight).max() <= bound * ULP


def test_the_default_is_torchs_own_for_linear_weight_and_bias() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(IN, OUT, dtype=torch.float64)
    ours = drawn("default")

    assert like(ours["0.weight"], linear.weight.detach())
    for array in (ours["0.bias"], linear.bias.detach().numpy()):
        assert 0.95 / math.sqrt(IN) < abs(array).max() <= ULP / math.sqrt(IN)
        assert array.std() == pytest.approx(1 / math.sqrt(3 * IN), rel=0.1)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_without_inputs_the_default_bias_is_torchs_zero() -> None:
    ours = initialize({"weight": (3, 0), "bias": (3,)}, "default", np.random.default_rng(0))

    np.testing.assert_array_equal(ours["bias"], nn.Linear(0, 3).bias.detach().numpy())


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((OUT, IN), (IN, OUT)), ((64, 3, 11, 11), (363, 7744)), ((7, 5, 3), (15, 21)),
     ((6, 1, 3, 3), (9, 54)), ((4, 0, 3), (0, 12)), ((2, 3, 4, 5, 6), (360, 240))],
)  # fmt: skip
def test_fans_are_torchs(shape: tuple, expected: tuple) -> None:
    weight = torch.empty(shape)

    assert fans(shape) == nn.init._calculate_fan_in_and_fan_out(weight) == expected


def test_the_default_is_torchs_own_for_a_convolution() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(6, 40, 5, groups=2, dtype=torch.float64)
    shapes = {f"0.{name}": tuple(p.shape) for name, p in conv.named_parameters()}
    ours, bound = initialize(shapes, "default", np.random.default_rng(0)), 1 / math.sqrt(75)

    for array in (ours["0.weight"], conv.weight.detach().numpy()):
        assert 0.99 * bound < abs(array).max() <= bound * ULP
    assert 0.8 * bound < abs(ours["0.bias"]).max() <= bound * ULP


def test_whose_weight_it_is_decides_what_three_axes_mean() -> None:
    shapes, rng = {"m.weight": (5, 40, 8)}, np.random.default_rng
    conv = initialize(shapes, "default", rng(0))["m.weight"]  # 8 places of a Conv1d
    graph = Graph([("m", Maxout(8, 40, 5), ("input",))])
    stack = initialize(shapes, "default", rng(0), stacks=graph.stacks)["m.weight"]

    assert graph.stacks == ("m.weight",)
    assert abs(stack).max() == pytest.approx(1 / math.sqrt(8), rel=0.01)
    assert abs(conv).max() == pytest.approx(1 / math.sqrt(40 * 8), rel=0.01)
    np.testing.assert_allclose(stack, conv * math.sqrt(40), rtol=1e-6)  # the same draws


def test_maxout_pieces_have_the_fans_of_one_piece() -> None:
    weights = initialize({"m.weight": (5, OUT, IN), "m.bias": (5, OUT)}, "default",
                         np.random.default_rng(0), stacks=["m.weight"])  # fmt: skip

    for array in weights.values():
        assert 0.99 / math.sqrt(IN) < abs(array).max() <= ULP / math.sqrt(IN)


def test_uniform_normal_constant_and_zeros_are_what_they_say() -> None:
    uniform = drawn("uniform", low=-0.5, high=2.0)["0.weight"]
    normal = drawn("normal", mean=3.0, std=0.25)["0.weight"]

    assert uniform.min() == pytest.approx(-0.5, abs=1e-3)
    assert uniform.max() == pytest.approx(2.0, abs=1e-3)
    assert uniform.mean() == pytest.approx(0.75, abs=0.01)
    assert normal.mean() == pytest.approx(3.0, abs=0.01)
    assert normal.std() == pytest.approx(0.25, rel=0.02)
    assert (drawn("constant", value=0.5)["0.weight"] == 0.5).all()
    assert (drawn("zeros")["0.weight"] == 0).all()


@pytest.mark.parametrize(
    ("scheme", "bias", "check"),
    [
        ("xavier_uniform", None, lambda b: (b == 0).all()),
        ("default", None, lambda b: (b != 0).all()),
        ("default", "zeros", lambda b: (b == 0).all()),
        ("xavier_normal", "default", lambda b: 0 < abs(b).max() <= ULP / math.sqrt(IN)),
        ("xavier_normal", "normal", lambda b: b.std() == pytest.approx(1, rel=0.15)),
        ("zeros", 0.25, lambda b: (b == 0.25).all()),
        ("default", 0, lambda b: (b == 0).all()),
        ("normal", "normal", lambda b: b.std() == pytest.approx(0.01, rel=0.15)),
    ],
)
def test_biases_follow_their_rule(scheme: str, bias: Any, check: Any) -> None:
    args: dict[str, Any] = {"std": 0.01} if scheme == "normal" else {}

    assert check(drawn(scheme, bias=bias, **args)["0.bias"])


def every_scheme() -> list[tuple[str, dict[str, Any]]]:
    needed = {"uniform": {"low": -1.0, "high": 1.0}, "constant": {"value": 0.1}}
    return [(name, needed.get(name, {})) for name in INITIALIZERS]


@pytest.mark.parametrize(("scheme", "args"), every_scheme())
def test_values_are_float64_that_float32_can_hold(scheme: str, args: dict) -> None:
    for name, array in drawn(scheme, **args).items():
        assert array.dtype == np.float64
        assert array.shape == SHAPES[name]
        np.testing.assert_array_equal(array.astype(np.float32).astype(np.float64), array)


@pytest.mark.parametrize("scheme", ["default", "xavier_normal", "kaiming_uniform", "normal"])
def test_the_seed_alone_decides(scheme: str) -> None:
    one, two, other = drawn(scheme, 3), drawn(scheme, 3), drawn(scheme, 4)

    assert {k: v.tobytes() for k, v in one.items()} == {k: v.tobytes() for k, v in two.items()}
    assert one["0.weight"].tobytes() != other["0.weight"].tobytes()


def test_layers_of_one_shape_get_different_weights() -> None:
    shapes = {"0.weight": (4, 4), "1.weight": (4, 4)}
    weights = initialize(shapes, "default", np.random.default_rng(0))

    assert list(weights) == list(shapes)
    assert not np.array_equal(weights["0.weight"], weights["1.weight"])


def test_a_signal_keeps_its_size_through_a_deep_kaiming_relu_network() -> None:
    rng = np.random.default_rng(0)
    shapes = {f"{i}.weight": (256, 256) for i in range(20)}
    kaiming = initialize(shapes, "kaiming_normal", rng, nonlinearity="relu")
    xavier = initialize(shapes, "xavier_normal", rng)
    sizes = []
    for weights in (kaiming, xavier):
        x = np.random.default_rng(1).normal(size=(64, 256))
        for weight in weights.values():
            x = np.maximum(x @ weight.T, 0)
        sizes.append(np.sqrt(np.mean(x * x)))

    assert 0.3 < sizes[0] < 3
    assert sizes[1] < 0.01  # ReLU halves the mean square 20 times: 2^-10


def test_every_scheme_has_a_one_line_summary_and_buildable_arguments() -> None:
    for name, args in every_scheme():
        first, *_ = (inspect.getdoc(INITIALIZERS[name]) or "").splitlines()
        assert first.endswith(".")
        assert len(first) < 90
        assert INITIALIZERS[name](**args)((3, 2), np.random.default_rng(0)).shape == (3, 2)


@pytest.mark.parametrize(
    ("scheme", "options", "message"),
    [
        ("xavier", {}, r"Unknown init scheme 'xavier'; known are default, xavier_uniform"),
        ("normal", {"sd": 1.0}, r"'normal' takes mean, std; received sd"),
        ("uniform", {"low": 0.0}, r"'uniform' takes low, high; received low"),
        ("zeros", {"value": 1.0}, r"'zeros' takes no arguments; received value"),
        ("normal", {"std": -1.0}, r"normal: std must be at least 0"),
        ("uniform", {"low": 1.0, "high": 0.0}, r"uniform: low must be at most high"),
        ("kaiming_normal", {"mode": "fan"}, r"mode must be 'fan_in' or 'fan_out'"),
        ("kaiming_normal", {"nonlinearity": "gelu"}, r"nonlinearity must be one of linear"),
        ("constant", {"value": 1e39}, r"'0\.weight': .*beyond float32"),
        ("default", {"bias": "ones"}, r"'0\.bias': bias must be 'default', 'zeros', 'normal' or"),
        ("default", {"bias": True}, r"'0\.bias': bias must be"),
    ],
)
def test_a_bad_argument_is_an_error_that_says_so(scheme: str, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        drawn(scheme, **options)


def test_scales_have_no_fans_and_none_of_them_is_one() -> None:
    drawn = initialize({"1.weight": (300,)}, "xavier_normal", np.random.default_rng(0))["1.weight"]

    assert 0.5 <= drawn.min() < 0.6
    assert 1.4 < drawn.max() <= 1.5
    assert (drawn != 1).all()


def test_a_bias_without_a_weight_that_has_fans_is_bounded_by_its_own_length() -> None:
    shapes = {
        "bn.weight": (400,),
        "bn.bias": (400,),
        "alone.bias": (400,),
        "lstm.bias_hh_l0": (400,),
    }
    drawn = initialize(shapes, "default", np.random.default_rng(0))

    for name in list(shapes)[1:]:
        assert 0.045 < np.abs(drawn[name]).max() <= 0.05


def test_an_lstms_biases_are_bounded_by_the_fans_of_its_weights() -> None:
    shapes = {"weight_ih_l0": (8, 4), "bias_ih_l0": (400,)}
    drawn = initialize(shapes, "default", np.random.default_rng(0))["bias_ih_l0"]

    assert 0.45 < np.abs(drawn).max() <= 0.5
