# %% [markdown]
# # 2 · Two ways to a gradient
#
# A gradient can be measured: nudge each weight and see what the loss does. Or it can be derived.
# Measuring is easy, slow and approximate; deriving is fast and exact, and easy to get wrong. So
# derive it, and check what you derived by measuring.

# %%
import time

import numpy as np
import torch

from compare.witness.complex_step import complex_step
from compare.witness.directional import directional
from teach.kit import (
    COLOURS,
    code_diff,
    figure,
    gauged,
    grad_fn_table,
    same,
    same_all,
    show,
    table,
)


def f(x):
    return x * np.exp(x)


def slope(x):
    return (1 + x) * np.exp(x)  # the product rule


x = np.array(1.0)
print(f"f(1) = {f(x):.6f}, f'(1) = {slope(x):.6f}")

# %% [markdown]
# ## Measuring a slope
#
# A derivative is a limit, so take a small step $h$ and leave out the limit:
#
# $$f'(x) \approx \frac{f(x + h) - f(x)}{h} \quad \text{(one-sided)}, \qquad
# f'(x) \approx \frac{f(x + h) - f(x - h)}{2h} \quad \text{(central)}$$


# %%
def one_sided(x, h):
    return (f(x + h) - f(x)) / h


def central(x, h):
    return (f(x + h) - f(x - h)) / (2 * h)


few = [0.1, 0.01, 0.001]
table(
    {
        "h": few,
        "one-sided": [float(one_sided(x, h)) for h in few],
        "its error": [float(one_sided(x, h) - slope(x)) for h in few],
        "central": [float(central(x, h)) for h in few],
        "error of central": [float(central(x, h) - slope(x)) for h in few],
    }
)

# %% [markdown]
# ## How wrong it is
#
# Each time $h$ shrinks to a tenth, the one-sided error shrinks to a tenth, the central one to a
# hundredth. Taylor's formula says why, and by how much: for some $\xi$ between the points used,
#
# $$\frac{f(x+h) - f(x)}{h} - f'(x) = \frac{h}{2} f^{(2)}(\xi), \qquad
# \frac{f(x+h) - f(x-h)}{2h} - f'(x) = \frac{h^2}{6} f^{(3)}(\xi)$$
#
# Here $f^{(2)} = (2 + x) e^x$ and $f^{(3)} = (3 + x) e^x$, both growing with $x$. So the error
# must lie between the values at the two ends. Rounding adds to it; `gauged` runs the same line on
# numbers that carry their rounding error, and tells how much that can be.


# %%
def second(x):
    return (2 + x) * np.exp(x)


def third(x):
    return (3 + x) * np.exp(x)


def rounding_of(function, h):
    """How far rounding can take the result: what `same` allows."""
    return float(gauged(lambda x: function(x, h) - slope(x), x).tolerance(np.dtype(float)))


steps = 2.0 ** -np.arange(1, 53)  # x + h is exact for every power of two down to here
wrong = {way: np.array([way(x, h) - slope(x) for h in steps]) for way in (one_sided, central)}
allowed = {way: np.array([rounding_of(way, h) for h in steps]) for way in wrong}

low, high = steps / 2 * second(x), steps / 2 * second(x + steps)
assert (wrong[one_sided] >= low - allowed[one_sided]).all()
assert (wrong[one_sided] <= high + allowed[one_sided]).all()
low, high = steps**2 / 6 * third(x - steps), steps**2 / 6 * third(x + steps)
assert (wrong[central] >= low - allowed[central]).all()
assert (wrong[central] <= high + allowed[central]).all()
print(f"all {2 * len(steps)} errors lie where Taylor and rounding say")

# %% [markdown]
# ## The best step is not the smallest
#
# On two logarithmic axes a power of $h$ is a straight line: slope 1 for the one-sided error, slope
# 2 for the central one. But from some point on, smaller steps make it *worse*. The two values of
# $f$ are then nearly equal, their common digits cancel, and what is left is their rounding,
# divided by a tiny $h$: a line of slope $-1$.

# %%
u = 2.0**-53  # the unit roundoff of float64
powers = [10.0**-k for k in (15, 12, 9, 6, 3)]
x_axis = {"xlabel": "step h", "xscale": "log", "xticks": powers, "xticklabels": powers}
with figure("The error against the step: truncation on the right, rounding on the left",
            **x_axis, ylabel="|error|", yscale="log", ylim=(1e-13, 1e2)) as axes:  # fmt: skip
    for way, label in ((one_sided, "one-sided"), (central, "central")):
        axes.plot(steps, np.where(wrong[way], np.abs(wrong[way]), np.nan), label=label)
    axes.plot(steps, steps / 2 * second(x), ":", color=COLOURS["muted"], label="slopes 1, 2, -1")
    axes.plot(steps, steps**2 / 6 * third(x), ":", color=COLOURS["muted"])
    axes.plot(steps, u * f(x) / steps, ":", color=COLOURS["muted"])

exponents = [4, 6, 8, 10]
rates = {
    way: [float(np.log2(wrong[way][k - 1] / wrong[way][k])) for k in exponents] for way in wrong
}
table(
    {
        "h": [f"2^-{k}" for k in exponents],
        "slope, one-sided": rates[one_sided],
        "slope, central": rates[central],
    }
)
assert round(rates[one_sided][-1], 2) == 1.0
assert round(rates[central][-1], 2) == 2.0

# %% [markdown]
# The best step is where the two lines cross. With $u = 2^{-53}$ it is near $\sqrt{u} \approx
# 10^{-8}$ for one-sided differences, which leaves 8 of 16 digits, and near $\sqrt[3]{u} \approx
# 5 \cdot 10^{-6}$ for central ones, which leaves 10 or 11. From $h = u$ down, $x + h$ *is* $x = 1$,
# and the one-sided slope is zero.

# %%
root, cube_root = np.sqrt(2 * u * f(x) / second(x)), np.cbrt(3 * u * f(x) / third(x))
best = [steps[np.argmin(np.abs(wrong[way]))] for way in wrong]
table(
    {
        "": ["one-sided", "central"],
        "lines cross at h =": [root, cube_root],
        "best h of those above": best,
        "its relative error": [f"{np.abs(wrong[way]).min() / slope(x):.0e}" for way in wrong],
    }
)
assert all(0.2 < h / crossing < 5 for h, crossing in zip(best, (root, cube_root), strict=True))
same("one-sided, with h = u", one_sided(x, u), 0.0, zero=True)

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
# The loss is a **parabola** in each weight of the last layer. There $f^{(3)} = 0$, the central
# difference has no error but rounding, and $h$ may be as large as 1. So for `W2` and `b2` the two
# ways must be the same, and are.


# %%
def whole_steps(X, Y, W1, b1, W2, b2):
    """Central differences with h = 1, for every weight of the last layer."""
    found = {}
    for k, e in enumerate(np.eye(len(W2))):
        ahead, behind = (loss(X, Y, W1, b1, W2 + sign * e[:, None], b2) for sign in (1, -1))
        found[f"W2[{k}, 0]"] = (ahead - behind) / 2
    ahead, behind = (loss(X, Y, W1, b1, W2, b2 + sign) for sign in (1, -1))
    return {**found, "b2[0]": (ahead - behind) / 2}


by_steps = whole_steps(X, Y, **params)
last_layer = [*derived["W2"][:, 0], derived["b2"][0]]
same_all(by_steps, dict(zip(by_steps, last_layer, strict=True)),
         gauged(lambda p: whole_steps(X, Y, **p), params))  # fmt: skip

# %% [markdown]
# ## What it costs
#
# A central difference takes two forward passes **for every weight**. Backpropagation takes one
# forward and one backward pass for all of them together.

# %%
calls = []


def counted(*arguments, **named):
    calls.append(1)
    return loss(*arguments, **named)


numerical(counted, X, Y, params)
weights = sum(p.size for p in params.values())
print(f"{weights} weights, {len(calls)} forward passes")
assert len(calls) == 2 * weights

counts, seconds = [], {"numerical": [], "analytic": []}
for size in (4, 8, 16, 32, 64):
    problem = start(size, size)
    counts.append(sum(p.size for p in problem[2].values()))
    for name, way in (("numerical", lambda *p: numerical(loss, *p)), ("analytic", analytic)):
        times = []
        for _ in range(2):
            begin = time.perf_counter()
            way(*problem)
            times.append(time.perf_counter() - begin)
        seconds[name].append(min(times))
with figure("Seconds for one gradient: each weight measured, and all of them derived",
            xlabel="number of weights", xscale="log", xticks=counts, xticklabels=counts,
            ylabel="seconds", yscale="log") as axes:  # fmt: skip
    for name, measured_seconds in seconds.items():
        axes.plot(counts, measured_seconds, "o-", label=name)

times_longer = [n / a for n, a in zip(*seconds.values(), strict=True)]
table(
    {
        "weights": counts,
        "numerical, ms": [round(1000 * s, 2) for s in seconds["numerical"]],
        "analytic, ms": [round(1000 * s, 3) for s in seconds["analytic"]],
        "times longer": [round(ratio) for ratio in times_longer],
    }
)
assert times_longer[-1] > 10 * times_longer[0]

# %% [markdown]
# Both a forward pass and the number of passes grow with the number of weights. A network with a
# million weights would take two million forward passes for a single step of learning.
#
# ## So: always the analytic one, checked with the numerical one
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
# ## Outlook: a step that cancels nothing
#
# If the code runs on complex numbers, step in the imaginary direction:
#
# $$f(x + ih) = f(x) + i h f'(x) - \tfrac{h^2}{2} f^{(2)}(x) - \dots \qquad\Longrightarrow\qquad
# f'(x) \approx \frac{\operatorname{Im} f(x + ih)}{h}$$
#
# Nothing is subtracted, so no digits cancel, and $h$ may be $10^{-100}$. The slope comes out to the
# last digits. It needs smooth code: the absolute value of a complex number is real, and the slope
# is lost.


# %%
def complex_slope(x, h):
    return np.imag(f(x + 1j * h)) / h


with figure("With a complex step there is no rounding line", **x_axis, ylabel="|error|",
            yscale="log", ylim=(1e-17, 1e2)) as axes:  # fmt: skip
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
# From measured to derived: the loops over weights are gone, and the chain rule has come.

# %%
code_diff(numerical, analytic, names=("numerical", "analytic"))

# %% [markdown]
# ## What torch now does for you
#
# It derives the analytic gradient, and it makes none of the mistakes. Each node is one step of
# the chain rule; the next lessons take them one by one.

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
