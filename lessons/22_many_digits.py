# %% [markdown]
# # 22 · To the last digit: random directions and complex steps
#
# Lesson 2 measured a slope to half of its digits, one weight after the other. A network has too
# many weights for that, and a small mistake hides in the other half. Two ideas help: step in a
# random direction, which moves all weights at once; and step into the complex plane, where nothing
# cancels and all digits are right.

# %% tags=["hide-input"]
import numpy as np
import torch

from compare.witness.complex_step import complex_step
from compare.witness.directional import directional
from teach.kit import code_diff, figure, gauged, grad_fn_table, same, same_all, show, table

# %% [markdown]
# ## The gradient of a network
#
# A network has many weights, and each must be nudged by itself. Here are two layers with a sigmoid
# between them and the squared error, the loss first, then both gradients.


# %%
def loss(X, Y, W1, b1, W2, b2):
    H = 1 / (1 + np.exp(-(X @ W1 + b1)))  # (N, hidden)
    return ((H @ W2 + b2 - Y) ** 2).sum()


def numerical(loss, X, Y, params, h=1e-5):
    gradients = {}
    for name, values in params.items():
        gradients[name] = np.zeros_like(values)
        for index in np.ndindex(values.shape):
            ends = []
            for moved in (values[index] + h, values[index] - h):
                nudged = values.copy()
                nudged[index] = moved
                ends.append(loss(X, Y, **{**params, name: nudged}))
            gradients[name][index] = (ends[0] - ends[1]) / (2 * h)
    return gradients


def analytic(X, Y, params):
    W1, b1, W2, b2 = params.values()
    H = 1 / (1 + np.exp(-(X @ W1 + b1)))
    dP = 2 * (H @ W2 + b2 - Y)  # (N, 1)
    dZ = (dP @ W2.T) * H * (1 - H)  # (N, hidden)
    return {"W1": X.T @ dZ, "b1": dZ.sum(axis=0), "W2": H.T @ dP, "b2": dP.sum(axis=0)}


def start(inputs, hidden, rows=8, seed=0):
    rng = np.random.default_rng(seed)
    shapes = {"W1": (inputs, hidden), "b1": (hidden,), "W2": (hidden, 1), "b2": (1,)}
    X, Y = rng.normal(size=(rows, inputs)), rng.normal(size=(rows, 1))
    return X, Y, {name: rng.normal(size=shape) for name, shape in shapes.items()}


X, Y, params = start(3, 4)
measured, derived = numerical(loss, X, Y, params), analytic(X, Y, params)
table(
    {
        "": [f"`W1[{i}, 0]`" for i in range(3)] + ["`b2[0]`"],
        "analytic": [*derived["W1"][:, 0], derived["b2"][0]],
        "numerical": [*measured["W1"][:, 0], measured["b2"][0]],
        "difference": [
            *(measured["W1"] - derived["W1"])[:, 0],
            (measured["b2"] - derived["b2"])[0],
        ],
    }
)

# %% [markdown]
# ## All weights at once: a random direction
#
# A check need not go through every weight. A step in a **random direction** moves all weights of a
# layer at once, and a mistake in any of them shows. `directional` measures such slopes with many
# steps $h$, and compares them with what `backward` claims. We give it the right gradient,
# and one with a mistake that is easily made: the sigmoid's slope as $H (1 + H)$.


# %%
def forward(W1, b1, W2, b2):
    return loss(X, Y, W1, b1, W2, b2), (W1, b1, W2, b2)


def right(dout, cache):
    gradients = analytic(X, Y, dict(zip(params, cache, strict=True)))
    return {name: dout * gradient for name, gradient in gradients.items()}


def mistaken(dout, cache):
    W1, b1, W2, b2 = cache
    H = 1 / (1 + np.exp(-(X @ W1 + b1)))
    dP = 2 * (H @ W2 + b2 - Y)
    dZ = (dP @ W2.T) * H * (1 + H)
    return {
        "W1": dout * (X.T @ dZ),
        "b1": dout * dZ.sum(axis=0),
        "W2": dout * (H.T @ dP),
        "b2": dout * dP.sum(axis=0),
    }


said = {name: directional(forward, way, params) for name, way in
        (("right", right), ("mistaken", mistaken))}  # fmt: skip
table(
    {
        "gradient": list(said),
        "agrees": [word.agrees for word in said.values()],
        "relative error": [f"{word.relative_error:.0e}" for word in said.values()],
    }
)
show(said["mistaken"].evidence)
assert said["right"].agrees
assert said["right"].conclusive
assert not said["mistaken"].agrees

# %% [markdown]
# The evidence has a second sign. What is left of $f$ after the value and the claimed slope,
# $f(x+h) - f(x) - h f'$, falls as $h^2$ if the slope is right, and only as $h$ if it is wrong.
# torch has such a check as well, `torch.autograd.gradcheck`.

# %%
assert (round(said["right"].rate), round(said["mistaken"].rate)) == (2, 1)
leaves = {name: torch.tensor(p, requires_grad=True) for name, p in params.items()}


def torch_loss(W1, b1, W2, b2):
    H = torch.sigmoid(torch.tensor(X) @ W1 + b1)
    return (H @ W2 + b2 - torch.tensor(Y)).square().sum()


checked = torch.autograd.gradcheck(torch_loss, tuple(leaves.values()))
print(f"torch.autograd.gradcheck: {checked}")
assert checked

# %% [markdown]
# ## A step that cancels nothing
#
# Take the function of lesson 2 again, $f(x) = x e^x$. Its central difference lost digits because
# two nearly equal numbers were subtracted. If the code runs on complex numbers, step in the
# imaginary direction:
#
# $$f(x + ih) = f(x) + i h f'(x) - \tfrac{h^2}{2} f^{(2)}(x) - \dots \qquad\Longrightarrow\qquad
# f'(x) \approx \frac{\operatorname{Im} f(x + ih)}{h}$$
#
# Nothing is subtracted, so no digits cancel, and $h$ may be $10^{-100}$. The slope comes out to the
# last digits. It needs smooth code: the absolute value of a complex number is real, and the slope
# is lost.


# %%
def f(x):
    return x * np.exp(x)


def slope(x):
    return (1 + x) * np.exp(x)


def one_sided(x, h):
    return (f(x + h) - f(x)) / h


def central(x, h):
    return (f(x + h) - f(x - h)) / (2 * h)


def complex_slope(x, h):
    return np.imag(f(x + 1j * h)) / h


x, steps = np.array(1.0), 2.0 ** -np.arange(1, 53)
powers = [10.0**-k for k in (15, 12, 9, 6, 3)]
with figure("With a complex step there is no rounding line", xlabel="step h", xscale="log",
            xticks=powers, xticklabels=powers, ylabel="|error|", yscale="log",
            ylim=(1e-17, 1e2)) as axes:  # fmt: skip
    for way, label in ((one_sided, "one-sided"), (central, "central"), (complex_slope, "complex")):
        errors = np.array([np.abs(way(x, h) - slope(x)) for h in steps])
        axes.plot(steps, np.where(errors, errors, np.nan), label=label)
same("f'(1), complex step with h = 1e-100", complex_slope(x, 1e-100), slope(x), gauged(slope, x))
same("the slope of |x| at 1, by a complex step", np.imag(abs(1 + 1e-100j)), 0.0, zero=True)


def by_complex_steps(X, Y, params, h=1e-100):
    gradients = {}
    for name, values in params.items():
        gradients[name] = np.zeros_like(values)
        for index in np.ndindex(values.shape):
            nudged = values.astype(complex)
            nudged[index] += 1j * h
            gradients[name][index] = np.imag(loss(X, Y, **{**params, name: nudged})) / h
    return gradients


same_all(derived, by_complex_steps(X, Y, params), gauged(analytic, X, Y, params))
word = complex_step(forward, right, params)
print(f"compare.witness.complex_step: agrees, relative error {word.relative_error:.0e}")
assert word.agrees
assert word.conclusive

# %% [markdown]
# Every weight of the network, measured, and the same as derived to what rounding allows.
#
# ## What changed in the code
#
# From a real step to an imaginary one: one evaluation for two, no difference, and no choice of $h$.

# %%
code_diff(numerical, by_complex_steps, names=("central", "complex"))

# %% [markdown]
# ## What torch now does for you
#
# It derives the gradient, and measures nothing. `torch.autograd.gradcheck` measured it above, with
# central differences, so it had to allow for half of the digits.

# %%
t_loss = torch_loss(**leaves)
grad_fn_table(
    t_loss,
    analytic,
    [
        ("Sum", "(every row adds to the loss: one each)"),
        ("Pow", "2 * (H @ W2 + b2 - Y)"),
        ("Sub", "(the target is a constant: nothing to do)"),
        ("Add", "dP.sum(axis=0)"),
        ("AccumulateGrad", '"b2": dP.sum(axis=0)'),
        ("Mm", "H.T @ dP", "dP @ W2.T"),
        ("AccumulateGrad", '"W2": H.T @ dP'),
        ("Sigmoid", "H * (1 - H)"),
        ("Add", "dZ.sum(axis=0)"),
        ("AccumulateGrad", '"b1": dZ.sum(axis=0)'),
        ("Mm", "X.T @ dZ"),
        ("AccumulateGrad", '"W1": X.T @ dZ'),
    ],
    leaves,
)
t_loss.backward()
same_all(derived, {n: leaf.grad for n, leaf in leaves.items()}, gauged(analytic, X, Y, params))

# %% [markdown]
# ## Your turn
#
# **An exercise.** Check yours with a complex step before you have it graded.
#
# ```sh
# handgrad exercise start swish
# handgrad exercise grade swish.py
# ```
#
# **On paper.** Why does $\operatorname{Im} f(x + ih) / h$ not cancel, and what is its error for
# $f(x) = x^3$?
#
# <details><summary>Answer</summary>
#
# Nothing is subtracted. $(x + ih)^3 = x^3 - 3xh^2 + i (3x^2 h - h^3)$, so the error is $h^2$:
# below rounding for $h = 10^{-20}$.
#
# </details>
#
# **Find the mistake.** Somebody's `swish` has this piece of code. A random point shows it. At
# which single $x$ would it not show?
#
# ```python
# s * (1 - s)
# ```
#
# <details><summary>Answer</summary>
#
# It is the slope of $\sigma$, not of $x \sigma$. The two are equal only where $e^x = -x$, at $x
# \approx -0.567$.
#
# </details>
