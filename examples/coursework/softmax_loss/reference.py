import torch


def cross_entropy(x, y):
    return torch.nn.functional.cross_entropy(x, y)
