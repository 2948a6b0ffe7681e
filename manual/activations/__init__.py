"""Pointwise activations y_i = f(x_i): the Jacobian is diagonal, so dx_i = dy_i f'(x_i)."""

from manual.activations.gated import GELU, SiLU
from manual.activations.rectifiers import ELU, LeakyReLU, ReLU, Softplus
from manual.activations.sigmoidal import LogSigmoid, Sigmoid, Tanh

__all__ = [
    "ELU",
    "GELU",
    "LeakyReLU",
    "LogSigmoid",
    "ReLU",
    "SiLU",
    "Sigmoid",
    "Softplus",
    "Tanh",
]

GROUP = "activation"  # how the registry lists these layers
