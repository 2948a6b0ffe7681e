import torch


def reference(x, w1, b1, w2, b2):
    hidden = torch.relu(torch.nn.functional.linear(x, w1.T, b1))
    return torch.nn.functional.linear(hidden, w2.T, b2)
