"""The elementary gates in torch operations, and graphs of them with a tap on every edge."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from torch_ref.network import NodeDescription


class ConstantGate(nn.Module):
    value: Tensor

    def __init__(self, value: float) -> None:
        super().__init__()
        self.register_buffer("value", torch.tensor(value, dtype=torch.float64))

    def forward(self) -> Tensor:
        return self.value


def _module(name: str, function: Callable[..., Any]) -> type[nn.Module]:
    """Return the module that calls a function with its constructor's arguments."""

    class Gate(nn.Module):
        def __init__(self, **arguments: Any) -> None:
            super().__init__()
            self.arguments = arguments

        def forward(self, *inputs: Any) -> Any:
            return function(*inputs, **self.arguments)

    Gate.__name__ = Gate.__qualname__ = name
    return Gate


def _reduced(x: Tensor, function: Callable[..., Any], dim: Any = None, **others: Any) -> Any:
    """Call a function whose `dim` must be left out, or be all axes, where all are meant."""
    return function(x, **others) if dim is None else function(x, dim=dim, **others)


def _every(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, **given: _reduced(x, function, **given)


def _or_number(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, y=None, other=None, **given: function(x, other if y is None else y, **given)


def _along(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, dim=-1, **given: function(x, dim=dim, **given)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "AddGate": torch.add,
    "SubtractGate": torch.sub,
    "MultiplyGate": torch.mul,
    "DivideGate": torch.div,
    "MaxGate": torch.maximum,
    "AddConstantGate": lambda x, constant: x + constant,
    "MultiplyConstantGate": lambda x, constant: x * constant,
    "SubtractFromGate": lambda x, constant: constant - x,
    "DivideConstantGate": lambda x, constant: x / constant,
    "DivideIntoGate": lambda x, constant: constant / x,
    "PowerGate": torch.pow,
    "ExponentialGate": lambda x, base: base**x,
    "MatMulGate": torch.matmul,
    "ComplexMultiplyGate": lambda x, y: torch.view_as_real(
        torch.view_as_complex(x.contiguous()) * torch.view_as_complex(y.contiguous())
    ),
    "WeightNormGate": lambda v, g, dim=0: torch._weight_norm(v, g, dim),
    "SquaredNormGate": lambda x: x.square().sum(),
    "SumGate": torch.sum,
    "MeanGate": torch.mean,
    "NanSumGate": torch.nansum,
    "NanMeanGate": torch.nanmean,
    "VarGate": torch.var,
    "StdGate": torch.std,
    "VarMeanGate": torch.var_mean,
    "StdMeanGate": torch.std_mean,
    "AminmaxGate": lambda x, **given: torch.aminmax(x, **given),
    "MaxAlongGate": _along(torch.max),
    "MinAlongGate": _along(torch.min),
    "MedianAlongGate": lambda x, dim=-1, keepdim=False, skips_nan=False: (
        (torch.nanmedian if skips_nan else torch.median)(x, dim, keepdim)
    ),
    "KthValueGate": torch.kthvalue,
    "ModeGate": torch.mode,
    "SortGate": torch.sort,
    "TopKGate": torch.topk,
    "CumMaxGate": _along(torch.cummax),
    "CumMinGate": _along(torch.cummin),
    "ProdGate": _every(torch.prod),
    "AmaxGate": _every(torch.amax),
    "AminGate": _every(torch.amin),
    "MedianGate": lambda x, skips_nan=False: (torch.nanmedian if skips_nan else torch.median)(x),
    "LogSumExpGate": lambda x, dim=None, keepdim=False: torch.logsumexp(
        x, tuple(range(x.ndim)) if dim is None else dim, keepdim
    ),
    "NormGate": lambda x, p=2.0, **given: torch.linalg.vector_norm(x, p, **given),
    "CumSumGate": _along(torch.cumsum),
    "CumProdGate": _along(torch.cumprod),
    "DiffGate": lambda x, before=None, after=None, **given: torch.diff(
        x, prepend=before, append=after, **given
    ),
    "WhereGate": lambda c, x, y, first=None, second=None: torch.where(
        c, first if x is None else x, second if y is None else y
    ),
    "NanToNumGate": torch.nan_to_num,
    "FillGate": lambda x, number: torch.fill(x, number),
    "DistGate": torch.dist,
    "CdistGate": torch.cdist,
    "PdistGate": nn.functional.pdist,
    "RenormGate": torch.renorm,
    "CovGate": torch.cov,
    "MatrixNormGate": torch.linalg.matrix_norm,
    "OrderedGate": lambda x, **given: torch.sort(x, **given)[0],
    "QuantileGate": lambda x, q, skips_nan=False, **given: (
        (torch.nanquantile if skips_nan else torch.quantile)(
            x, torch.as_tensor(q, dtype=x.dtype, device=x.device), **given
        )
    ),
    "TrapezoidGate": lambda y, x=None, dx=1.0, dim=-1, running=False: (
        (torch.cumulative_trapezoid if running else torch.trapezoid)(
            y, dim=dim, **({"dx": dx} if x is None else {"x": x})
        )
    ),
    "ClampGate": torch.clamp,
    "ClampBetweenGate": torch.clamp,
    "LerpGate": lambda x, y, w=None, weight=None: torch.lerp(x, y, weight if w is None else w),
    "RemainderGate": _or_number(torch.remainder),
    "FmodGate": _or_number(torch.fmod),
    "CopysignGate": _or_number(torch.copysign),
    "RoundedDivideGate": _or_number(torch.div),
    **{
        f"{name}Gate": getattr(torch, name.lower())
        for name in (
            "Exp", "Log", "Sigmoid", "Tanh", "Abs", "Sin", "Cos", "Reciprocal", "Sqrt", "Rsqrt",
            "Exp2", "ExpM1", "Log1p", "Log2", "Log10", "Tan", "Asin", "Acos", "Atan", "Sinh",
            "Cosh", "Asinh", "Acosh", "Atanh", "Sinc", "Floor", "Ceil", "Round", "Trunc", "Sign",
            "Angle", "Frac", "Fmax", "Fmin", "Atan2", "Hypot", "LogAddExp", "LogAddExp2", "Xlogy",
            "Ldexp", "Addcmul", "Addcdiv", "Pow",
        )
    },
    **{
        f"{name}Gate": getattr(torch.special, torch_name)
        for name, torch_name in {
            "Erf": "erf", "Erfc": "erfc", "Erfcx": "erfcx", "Erfinv": "erfinv", "Ndtr": "ndtr",
            "LogNdtr": "log_ndtr", "Ndtri": "ndtri", "Entr": "entr", "Logit": "logit",
            "Lgamma": "gammaln", "Mvlgamma": "multigammaln",
        }.items()
    },
    "PolygammaGate": lambda x, n: torch.special.polygamma(n, x),
    "MinGate": torch.minimum,
    "NegateGate": torch.neg,
    "Xlog1pyGate": torch.special.xlog1py,
}  # fmt: skip
globals().update({name: _module(name, function) for name, function in FUNCTIONS.items()})


def gate(type_name: str, **arguments: Any) -> nn.Module:
    """Build the gate of this name.

    Raises:
        ValueError: there is none.
    """
    found = globals().get(type_name)
    if not type_name.endswith("Gate") or found is None:
        raise ValueError(f"torch_ref has no gate '{type_name}'.")
    return found(**arguments)


class GateGraph:
    """A graph of gates on torch tensors.

    After `backward`, `values` and `edges` keep their gradients: an edge is a view of its own of
    the value that runs along it, so that a branch's share can be told from the sum.
    """

    def __init__(self, nodes: Sequence[NodeDescription]) -> None:
        self.nodes = list(nodes)
        self.values: dict[str, Tensor] = {}
        self.edges: dict[tuple[str, int], Tensor] = {}  # (node, which of its inputs)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Visit the nodes, which are given in topological order, leaving a tap on every edge."""
        self.values = {name: x.detach().requires_grad_() for name, x in inputs.items()}
        for node in self.nodes:
            arguments = []
            for position, name in enumerate(node.inputs):
                edge = self.values[name].view_as(self.values[name])
                if edge.requires_grad:
                    edge.retain_grad()
                self.edges[node.name, position] = edge
                arguments.append(edge)
            y = gate(node.type, **node.args)(*arguments)
            if y.requires_grad:
                y.retain_grad()
            self.values[node.name] = y
        return y

    def backward(self, upstream: Tensor) -> None:
        """Let autograd leave a gradient on every value and edge that leads to an input."""
        self.values[self.nodes[-1].name].backward(upstream)
