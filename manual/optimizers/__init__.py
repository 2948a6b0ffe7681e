"""Optimisers: pure functions from (parameters, gradients, state) to (parameters, state).

Names, arguments, defaults and state names are torch.optim's. With a gradient g_t of the parameter
θ_t-1 at step t = 1, 2, …, every `update` derives its own θ_t.
"""

from manual.optimizers.adagrad import Adagrad
from manual.optimizers.adam import Adam, AdamW
from manual.optimizers.base import Optimizer
from manual.optimizers.rmsprop import RMSprop
from manual.optimizers.sgd import SGD

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop"]
