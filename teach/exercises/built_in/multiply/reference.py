import torch


def reference(x, y):
    return torch.mul(x, y)
