# handgrad exercise: multiply
"""Multiply gate: f = x y, element by element."""


def multiply_forward(x, y):
    """Return f (N, D) and what backward needs; x, y (N, D)."""
    return x * y, (x, y)


def multiply_backward(dout, cache):
    """Return dx and dy, both (N, D).

    dout (N, D) is the gradient of the loss with respect to f: the upstream gradient. Each answer is
    [local gradient] × [upstream gradient].
    """
    x, y = cache
    raise NotImplementedError("fill in multiply_backward")
