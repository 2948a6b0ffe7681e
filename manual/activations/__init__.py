"""Activations; most are pointwise, y_i = f(x_i): the Jacobian is diagonal, dx_i = dy_i f'(x_i)."""

from manual.activations.clipped import Hardsigmoid, Hardswish, Hardtanh, ReLU6
from manual.activations.exponential import CELU, ELU, SELU
from manual.activations.gated import GELU, GLU, Mish, SiLU
from manual.activations.leaky import LeakyReLU, PReLU, RReLU
from manual.activations.rectifiers import ReLU, Softplus
from manual.activations.shrinking import Hardshrink, Softshrink, Tanhshrink, Threshold
from manual.activations.sigmoidal import LogSigmoid, Sigmoid, Softsign, Tanh

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "SELU",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LeakyReLU",
    "LogSigmoid",
    "Mish",
    "PReLU",
    "RReLU",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Tanh",
    "Tanhshrink",
    "Threshold",
]

GROUP = "activation"  # how the registry lists these layers
