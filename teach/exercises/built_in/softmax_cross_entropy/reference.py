import torch


def reference(x, y):
    return torch.nn.functional.cross_entropy(x, y)
