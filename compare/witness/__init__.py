"""Witnesses that need no torch: each asks whether a backward pass fits its forward pass.

    directional    Taylor remainders and central differences along random directions, float64
    complex_step   the imaginary part of f(x + ih), for smooth code, to rounding
    certify        the same code on balls of arbitrary precision, with proven digits

All three take the pair that people write: `out, cache = forward(*inputs)` and
`grads = backward(dout, cache)`.
"""
