import torch


def reference(x, h, c, wx, wh, b):
    z = x @ wx + h @ wh + b[:, None, :]
    zi, zf, zo, zg = z
    i, f, o, g = torch.sigmoid(zi), torch.sigmoid(zf), torch.sigmoid(zo), torch.tanh(zg)
    new_c = f * c + i * g
    return o * torch.tanh(new_c), new_c
