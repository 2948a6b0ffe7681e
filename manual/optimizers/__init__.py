"""Optimisers: pure functions from (parameters, gradients, state) to (parameters, state).

Names, arguments, defaults and state names are torch.optim's. With a gradient g_t of the parameter
θ_t-1 at step t = 1, 2, …, every `update` derives its own θ_t.
"""

from manual.optimizers.adadelta import Adadelta
from manual.optimizers.adafactor import Adafactor
from manual.optimizers.adagrad import Adagrad
from manual.optimizers.adam import Adam, AdamW
from manual.optimizers.adamax import Adamax
from manual.optimizers.asgd import ASGD
from manual.optimizers.base import Optimizer
from manual.optimizers.lbfgs import LBFGS
from manual.optimizers.muon import Muon
from manual.optimizers.nadam import NAdam
from manual.optimizers.radam import RAdam
from manual.optimizers.rmsprop import RMSprop
from manual.optimizers.rprop import Rprop
from manual.optimizers.sgd import SGD
from manual.optimizers.sparse_adam import SparseAdam, SparseGradient

__all__ = [
    "ASGD", "LBFGS", "SGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Muon",
    "NAdam", "Optimizer", "RAdam", "RMSprop", "Rprop", "SparseAdam", "SparseGradient",
]  # fmt: skip
