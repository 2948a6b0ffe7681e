"""Mistakes in losses, penalties and optimisers: factors, signs, terms, the order of things."""

from __future__ import annotations

import numpy as np

from manual import losses, penalties
from manual.activations import Sigmoid, Softplus, Tanh
from manual.linear import Linear
from manual.optimizers import SGD, Adam, AdamW, RMSprop
from tests.compare.planted.networks import BATCH, Mistake
from tests.compare.planted.wrong_layers import backward, scaled, weights
from tests.compare.planted.wrong_updates import coupled_adamw, momentum, plain_adam, same

MISTAKES = [
    Mistake(
        "sigmoid: sign",
        ("sign",),
        Sigmoid,
        "backward",
        backward(lambda dy, y: dy * y * (y - 1)),
        "Sigmoid",
    ),
    Mistake(
        "linear: weights averaged over the batch",
        ("batch size",),
        Linear,
        "grad_params",
        weights(lambda dy, x: dy.T @ x / len(x)),
        "Tanh",
    ),
    Mistake(
        "linear: bias averaged over the batch",
        ("batch size",),
        Linear,
        "grad_params",
        weights(lambda dy, x: dy.T @ x, lambda dy: dy.mean(axis=0)),
        "Tanh",
    ),
    Mistake(
        "cross-entropy: not divided by N",
        ("batch size",),
        losses.CrossEntropyLoss,
        "backward",
        scaled(losses.CrossEntropyLoss, "backward", lambda c: len(c.p)),
        "Tanh",
    ),
    Mistake(
        "cross-entropy: divided by N twice",
        ("batch size",),
        losses.CrossEntropyLoss,
        "backward",
        scaled(losses.CrossEntropyLoss, "backward", lambda c: 1 / len(c.p)),
        "Tanh",
    ),
    Mistake(
        "cross-entropy: divided by the classes",
        ("number of classes",),
        losses.CrossEntropyLoss,
        "backward",
        scaled(losses.CrossEntropyLoss, "backward", lambda c: 1 / c.p.shape[1]),
        "Tanh",
    ),
    Mistake(
        "squared error: the 2 forgotten",
        ("factor 2",),
        losses.MSELoss,
        "backward",
        scaled(losses.MSELoss, "backward", lambda c: 0.5),
        "mse",
    ),
    Mistake(
        "squared error: averaged over samples only",
        ("number of classes",),
        losses.MSELoss,
        "backward",
        scaled(losses.MSELoss, "backward", lambda c: c.d.shape[1]),
        "mse",
    ),
    Mistake(
        "squared error: target − output",
        ("sign",),
        losses.MSELoss,
        "backward",
        scaled(losses.MSELoss, "backward", lambda c: -1),
        "mse",
    ),
    Mistake(
        "squared error: n − 1",
        ("n − 1",),
        losses.MSELoss,
        "backward",
        scaled(losses.MSELoss, "backward", lambda c: BATCH / (BATCH - 1)),
        "mse",
    ),
    Mistake(
        "softplus: an odd constant",
        ("constant factor",),
        Softplus,
        "backward",
        scaled(Softplus, "backward", lambda c: 1.0301),
        "Softplus",
    ),
    Mistake("tanh: zero", ("zero",), Tanh, "backward", backward(lambda dy, y: 0 * dy), "Tanh"),
    Mistake(
        "cross-entropy: smoothing forgotten in backward",
        ("argument",),
        losses.CrossEntropyLoss,
        "_targets",
        lambda self, p, s: 0 * p + np.eye(p.shape[1])[s.target],
        "smoothed",
    ),
    Mistake(
        "bce: the fused formula",
        ("fused formula",),
        losses.BCELoss,
        "backward",
        lambda self, dy, c: ((dy * (c.p - c.target) / c.p.size,), {}),
        "bce",
    ),
    Mistake(
        "cross-entropy: the one-hot not subtracted",
        ("missing term",),
        losses.CrossEntropyLoss,
        "backward",
        lambda self, dy, c: ((dy * c.p / len(c.p),), {}),
        "Tanh",
    ),
    Mistake(
        "penalty: λ w for 2 λ w",
        ("factor 2",),
        penalties.L2Penalty,
        "backward",
        lambda self, dy, c: ((self.coefficient * dy * c.w,), {}),
        "penalised",
    ),
    Mistake(
        "penalty: not in the gradient",
        ("penalty missing",),
        penalties.L2Penalty,
        "backward",
        lambda self, dy, c: ((0 * c.w,), {}),
        "penalised",
    ),
    Mistake(
        "sgd: uphill", ("sign",), SGD, "update", lambda self, p, g, s, lr: (p + lr * g, {}), "Tanh"
    ),
    Mistake(
        "sgd: no step", ("no update",), SGD, "update", lambda self, p, g, s, lr: (1 * p, {}), "Tanh"
    ),
    Mistake(
        "sgd: lr forgotten",
        ("setting",),
        SGD,
        "update",
        lambda self, p, g, s, lr: (p - g, {}),
        "Tanh",
    ),
    Mistake(
        "sgd: decay forgotten",
        ("decay", "argument"),
        SGD,
        "update",
        lambda self, p, g, s, lr: (p - lr * g, {}),
        "decay",
    ),
    Mistake(
        "momentum: a running mean, later",
        ("momentum", "setting"),
        SGD,
        "update",
        momentum(lambda lr, mu, b, old, g: lr * b, lambda mu, b, g, lr: mu * b + (1 - mu) * g),
        "momentum",
    ),
    Mistake(
        "momentum: lr inside the buffer, later",
        ("momentum", "setting"),
        SGD,
        "update",
        momentum(lambda lr, mu, b, old, g: b, lambda mu, b, g, lr: mu * b + lr * g),
        "momentum",
    ),
    Mistake(
        "nesterov: without the look ahead, later",
        ("argument", "momentum", "setting"),
        SGD,
        "update",
        momentum(lambda lr, mu, b, old, g: lr * b, same),
        "nesterov",
    ),
    Mistake(
        "nesterov: from the old buffer, later",
        ("momentum", "argument"),
        SGD,
        "update",
        momentum(lambda lr, mu, b, old, g: lr * (g + mu * old), same),
        "nesterov",
    ),
    Mistake("adam: no bias correction", ("bias correction",), Adam, "update", plain_adam(), "adam"),
    Mistake(
        "adam: no bias correction, later",
        ("bias correction",),
        Adam,
        "update",
        plain_adam(),
        "adam",
    ),
    Mistake(
        "adam: ε inside the root",
        ("epsilon",),
        Adam,
        "update",
        plain_adam(correct=True, inside=True),
        "adam",
    ),
    Mistake(
        "adam: decoupled decay",
        ("decoupled decay",),
        Adam,
        "update",
        plain_adam(correct=True, decoupled=True),
        "adam-decay",
    ),
    Mistake("adamw: coupled decay", ("coupled decay",), AdamW, "update", coupled_adamw, "adamw"),
    Mistake(
        "rmsprop: ε inside the root",
        ("epsilon",),
        RMSprop,
        "update",
        lambda self, p, g, s, lr: (
            p - lr * g / np.sqrt(0.01 * g * g + 0.99 * s.get("square_avg", 0.0) + self.eps),
            {
                "step": s.get("step", 0) + 1,
                "square_avg": 0.01 * g * g + 0.99 * s.get("square_avg", 0.0),
            },
        ),
        "rmsprop",
    ),
    Mistake(
        "rmsprop: without the root",
        ("root",),
        RMSprop,
        "update",
        lambda self, p, g, s, lr: (
            p - lr * g / (0.01 * g * g + self.eps),
            {"step": 1, "square_avg": 0.01 * g * g},
        ),
        "rmsprop",
    ),
]
