# handgrad exercise: linear
"""Linear layer: y = x w + b."""


def linear_forward(x, w, b):
    """Return y (N, M) and what backward needs; x (N, D), w (D, M), b (M,)."""
    return x @ w + b, (x, w)


def linear_backward(dout, cache):
    """Return dx (N, D), dw (D, M) and db (M,).

    dout (N, M) is the upstream gradient. Write y_nm with all its indices, ask which of them hold
    x_nd (or w_dm, or b_m), and add up. The shapes leave few ways to put the matrices together.
    """
    x, w = cache
    raise NotImplementedError("fill in linear_backward")
