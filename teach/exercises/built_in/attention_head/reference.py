import torch


def reference(q, k, v):
    return torch.nn.functional.scaled_dot_product_attention(q, k, v)
