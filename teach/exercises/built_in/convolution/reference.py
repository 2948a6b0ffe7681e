import torch


def reference(x, w):
    return torch.nn.functional.conv2d(x[:, None], w[None, None])[:, 0]
