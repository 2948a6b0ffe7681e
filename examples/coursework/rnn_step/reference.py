import torch


def rnn_step(x, prev_h, Wx, Wh, b):  # noqa: N803
    return torch.tanh(x @ Wx + prev_h @ Wh + b)
