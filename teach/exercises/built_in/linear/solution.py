"""Linear layer: y = x w + b."""


def linear_forward(x, w, b):
    """Return y (N, M) and what backward needs; x (N, D), w (D, M), b (M,)."""
    return x @ w + b, (x, w)


def linear_backward(dout, cache):
    """y_nm = Σ_d x_nd w_dm + b_m: whatever index dout and the other factor share is summed."""
    x, w = cache
    dx = dout @ w.T  # (N, D): m is summed
    dw = x.T @ dout  # (D, M): n is summed
    db = dout.sum(axis=0)  # (M,): b is used once per row
    return dx, dw, db
