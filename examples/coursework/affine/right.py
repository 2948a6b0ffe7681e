"""Affine layer: y = x W + b."""


def affine_forward(x, w, b):
    return x @ w + b, (x, w)


def affine_backward(dout, cache):
    """y_nm = Σ_d x_nd w_dm + b_m: whatever index dy and the other factor share is summed."""
    x, w = cache
    dx = dout @ w.T  # (N, D): m is summed
    dw = x.T @ dout  # (D, M): n is summed
    db = dout.sum(axis=0)  # (M,): b is used once per row
    return dx, dw, db
