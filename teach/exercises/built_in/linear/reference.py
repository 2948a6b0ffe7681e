import torch


def reference(x, w, b):
    return torch.nn.functional.linear(x, w.T, b)
