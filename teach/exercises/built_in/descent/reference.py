import torch


def reference(w, b, x, y):
    return torch.mean((w * x + b - y) ** 2)
