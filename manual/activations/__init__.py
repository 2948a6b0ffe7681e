"""Activations; most are pointwise, y_i = f(x_i): the Jacobian is diagonal, dx_i = dy_i f'(x_i)."""

from manual.activations import clipped, exponential, gated, leaky, rectifiers, shrinking, sigmoidal
from manual.activations.clipped import *
from manual.activations.exponential import *
from manual.activations.gated import *
from manual.activations.leaky import *
from manual.activations.rectifiers import *
from manual.activations.shrinking import *
from manual.activations.sigmoidal import *

__all__ = [
    *clipped.__all__, *exponential.__all__, *gated.__all__, *leaky.__all__, *rectifiers.__all__,
    *shrinking.__all__, *sigmoidal.__all__,
]  # fmt: skip

GROUP = "activation"  # how the registry lists these layers
