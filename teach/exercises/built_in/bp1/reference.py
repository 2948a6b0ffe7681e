import torch


def reference(z, y):
    return (y - torch.sigmoid(z)).square().sum() / (2 * len(z))
