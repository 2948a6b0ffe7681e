"""The references of course.toml: what the usual course assignments ask for, in torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


def affine(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """Return x (N, d1, …, dk), flattened to (N, D), times w (D, M), plus b (M,)."""
    return x.reshape(x.shape[0], -1) @ w + b


def temporal_affine(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """Return x (N, T, D) times w (D, M), plus b (M,)."""
    return x @ w + b


def dropped(x: Tensor, dropout_param: dict[str, Any], keep: float) -> Tensor:
    """Return what the seed's uniform numbers keep, divided by the probability of being kept."""
    if dropout_param["mode"] == "test":
        return x * 1.0
    drawn = np.random.RandomState(dropout_param["seed"]).rand(*x.shape)
    kept = drawn < keep if keep == dropout_param["p"] else drawn >= dropout_param["p"]
    return x * torch.from_numpy(kept / keep).to(x)


def dropout_keep(x: Tensor, dropout_param: dict[str, Any]) -> Tensor:
    """Dropout whose p is the probability that an element is kept."""
    return dropped(x, dropout_param, dropout_param["p"])


def dropout_drop(x: Tensor, dropout_param: dict[str, Any]) -> Tensor:
    """Dropout whose p is the probability that an element is dropped."""
    return dropped(x, dropout_param, 1 - dropout_param["p"])


def batch_norm(x: Tensor, gamma: Tensor, beta: Tensor, bn_param: dict[str, Any]) -> Tensor:
    """Batch norm of x (N, D) or (N, C, H, W) in training mode."""
    eps = bn_param.get("eps", 1e-5)
    return functional.batch_norm(x, None, None, gamma, beta, training=True, eps=eps)


def layer_norm(x: Tensor, gamma: Tensor, beta: Tensor, ln_param: dict[str, Any]) -> Tensor:
    """Layer norm of x (N, D) over its last axis."""
    return functional.layer_norm(x, x.shape[1:], gamma, beta, ln_param.get("eps", 1e-5))


def group_norm(x: Tensor, gamma: Tensor, beta: Tensor, G: int, gn_param: dict[str, Any]) -> Tensor:
    """Group norm of x (N, C, H, W) with gamma and beta (1, C, 1, 1)."""
    return functional.group_norm(x, G, eps=gn_param.get("eps", 1e-5)) * gamma + beta


def convolution(x: Tensor, w: Tensor, b: Tensor, conv_param: dict[str, Any]) -> Tensor:
    """Cross-correlation of x (N, C, H, W) with w (F, C, HH, WW), plus b (F,)."""
    return functional.conv2d(x, w, b, conv_param["stride"], conv_param["pad"])


def max_pool(x: Tensor, pool_param: dict[str, Any]) -> Tensor:
    """Max pooling of x (N, C, H, W), windows cut off at the border."""
    window = pool_param["pool_height"], pool_param["pool_width"]
    return functional.max_pool2d(x, window, pool_param["stride"])


def softmax_loss(x: Tensor, y: Tensor) -> Tensor:
    """Mean cross-entropy of scores x (N, C) with labels y (N,)."""
    return functional.cross_entropy(x, y)


def svm_loss(x: Tensor, y: Tensor) -> Tensor:
    """Mean over N of the sum of the other classes' margins, max(0, x_j - x_y + 1)."""
    margins = (x - x.gather(1, y[:, None]) + 1).clamp(min=0)
    return (margins.sum() - y.shape[0]) / y.shape[0]


def penalty(W: Tensor, reg: float) -> Tensor:
    return reg * (W * W).sum()


def softmax_classifier(W: Tensor, X: Tensor, y: Tensor, reg: float) -> Tensor:
    """Softmax loss of X (N, D) W (D, C), plus reg Σ W²."""
    return softmax_loss(X @ W, y) + penalty(W, reg)


def softmax_classifier_half(W: Tensor, X: Tensor, y: Tensor, reg: float) -> Tensor:
    """The same with ½ reg Σ W²."""
    return softmax_classifier(W, X, y, reg / 2)


def svm_classifier(W: Tensor, X: Tensor, y: Tensor, reg: float) -> Tensor:
    """SVM loss of X (N, D) W (D, C), plus reg Σ W²."""
    return svm_loss(X @ W, y) + penalty(W, reg)


def svm_classifier_half(W: Tensor, X: Tensor, y: Tensor, reg: float) -> Tensor:
    """The same with ½ reg Σ W²."""
    return svm_classifier(W, X, y, reg / 2)


def rnn_step(x: Tensor, prev_h: Tensor, Wx: Tensor, Wh: Tensor, b: Tensor) -> Tensor:
    """One step of a tanh RNN: x (N, D), prev_h (N, H), Wx (D, H), Wh (H, H), b (H,)."""
    return torch.tanh(x @ Wx + prev_h @ Wh + b)


def rnn(x: Tensor, h0: Tensor, Wx: Tensor, Wh: Tensor, b: Tensor) -> Tensor:
    """All hidden states (N, T, H) of a tanh RNN over x (N, T, D)."""
    states = [h0]
    for xt in x.unbind(1):
        states.append(rnn_step(xt, states[-1], Wx, Wh, b))
    return torch.stack(states[1:], 1)


def lstm_step(
    x: Tensor, prev_h: Tensor, prev_c: Tensor, Wx: Tensor, Wh: Tensor, b: Tensor
) -> tuple[Tensor, Tensor]:
    """One step of an LSTM, gates in the order i, f, o, g: Wx (D, 4H), Wh (H, 4H), b (4H,)."""
    i, f, o, g = (x @ Wx + prev_h @ Wh + b).unflatten(1, (4, prev_h.shape[1])).unbind(1)
    c = f.sigmoid() * prev_c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def lstm(x: Tensor, h0: Tensor, Wx: Tensor, Wh: Tensor, b: Tensor) -> Tensor:
    """All hidden states (N, T, H) of an LSTM over x (N, T, D) whose first cell state is 0."""
    h, c, states = h0, torch.zeros_like(h0), []
    for xt in x.unbind(1):
        h, c = lstm_step(xt, h, c, Wx, Wh, b)
        states.append(h)
    return torch.stack(states, 1)


def embedding(x: Tensor, W: Tensor) -> Tensor:
    """Rows of W (V, D) by indices x (N, T)."""
    return functional.embedding(x, W)


def temporal_softmax_loss(x: Tensor, y: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy of scores x (N, T, V), summed over the mask's steps, divided by N."""
    each = functional.cross_entropy(x.flatten(0, 1), y.flatten(), reduction="none")
    return (each * mask.flatten()).sum() / x.shape[0]
