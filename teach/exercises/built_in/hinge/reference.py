import torch


def reference(s, y):
    margins = torch.relu(s - s.gather(1, y[:, None]) + 1)  # relu: slope 0 at 0
    right = torch.nn.functional.one_hot(y, s.shape[1]).bool()
    return margins.masked_fill(right, 0).sum() / len(y)
