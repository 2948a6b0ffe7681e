"""Multiply gate: f = x y, element by element."""


def multiply_forward(x, y):
    """Return f (N, D) and what backward needs; x, y (N, D)."""
    return x * y, (x, y)


def multiply_backward(dout, cache):
    """The derivative of x y with respect to x is y, and the other way round: the gate switches."""
    x, y = cache
    dx = dout * y  # (N, D)
    dy = dout * x  # (N, D)
    return dx, dy
