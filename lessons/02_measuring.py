# %% [markdown]
# # 2 · Two ways to a slope: measure it, or derive it
#
# A slope can be measured: nudge the weight and see what the loss does. Or it can be derived.
# Measuring is easy, slow and approximate; deriving is fast and exact, and easy to get wrong. So
# derive it, and check what you derived by measuring.

# %% tags=["hide-input"]
import time

import numpy as np
import torch

from teach.kit import COLOURS, code_diff, figure, gauged, grad_fn_table, same, same_all, table

# %% [markdown]
# Lesson 1 measured a slope as $-9.995$ that was $-10$. Where does the $0.005$ come from, and can it
# be made smaller? We take a function whose slope we know, $f(x) = x e^x$, at $x = 1$.


# %%


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
digits = [-np.log10(np.abs(wrong[way]).min() / slope(x)) for way in wrong]
assert round(digits[0]) == 8
assert 10 <= digits[1] < 12
same("one-sided, with h = u", one_sided(x, u), 0.0, zero=True)

# %% [markdown]
# ## Many weights: one after the other
#
# Lesson 1 guessed points from hours alone. With $K$ facts about each student the guess is
# $\sum_k w_k x_{nk}$, a weight for each fact, and the gradient has $K$ numbers. To measure it,
# nudge each weight **by itself**, and leave the others where they are. To derive it, nothing new is
# needed: each weight's slope is the mean of twice the error times *its* input.
#
# $$L = \frac{1}{N} \sum_n \Big(\sum_k w_k x_{nk} - y_n\Big)^2, \qquad
# \frac{\partial L}{\partial w_k} = \frac{1}{N} \sum_n 2 \Big(\sum_j w_j x_{nj} - y_n\Big)
# x_{nk}$$


# %%
def loss(X, y, w):
    error = (w * X).sum(axis=1) - y  # (N,)
    return (error * error).sum() / len(X)


def numerical(X, y, w, h=1e-5):
    gradient = np.zeros(len(w))
    for k in range(len(w)):
        ends = []
        for moved in (w[k] + h, w[k] - h):
            nudged = w.copy()
            nudged[k] = moved
            ends.append(loss(X, y, nudged))
        gradient[k] = (ends[0] - ends[1]) / (2 * h)
    return gradient


def analytic(X, y, w):
    error = (w * X).sum(axis=1) - y
    return (2 * error[:, None] * X).sum(axis=0) / len(X)


def students(K, N=50):
    rng = np.random.default_rng(2)
    return rng.normal(size=(N, K)), rng.normal(size=N), rng.normal(size=K)


X, y, w = students(4)
measured, derived = numerical(X, y, w), analytic(X, y, w)
table({"weight": [f"`w[{k}]`" for k in range(4)], "measured": measured, "derived": derived,
       "difference": measured - derived})  # fmt: skip
assert np.abs(measured - derived).max() < 1e-8 * np.abs(derived).max()

# %% [markdown]
# Here is a surprise: with $h = 1$, a huge step, the central difference is *better*. The loss is a
# **parabola** in each weight, so $f^{(3)} = 0$: no error but rounding is left, and rounding is
# divided by a large $h$. So the two ways must be the same, to what rounding allows, and they are.


# %%
def whole_steps(X, y, w):
    pairs = [(loss(X, y, w + e), loss(X, y, w - e)) for e in np.eye(len(w))]
    return {f"w[{k}]": (ahead - behind) / 2 for k, (ahead, behind) in enumerate(pairs)}


same_all(whole_steps(X, y, w), {f"w[{k}]": d for k, d in enumerate(derived)},
         gauged(whole_steps, X, y, w))  # fmt: skip

# %% [markdown]
# ## What it costs
#
# A central difference computes the loss twice **for every weight**. The derivation computes the
# error once, for all of them together. How much longer does it take to measure? Guess for four
# weights, then for a thousand.

# %%
calls, plain_loss = [], loss


def loss(X, y, w):
    calls.append(1)
    return plain_loss(X, y, w)


numerical(X, y, w)
assert len(calls) == 2 * len(w)
counts, seconds = [4, 16, 64, 256, 1024], {"measured": [], "derived": []}
for K in counts:
    problem = students(K)
    for name, way in (("measured", numerical), ("derived", analytic)):
        begin = time.perf_counter()
        way(*problem)
        seconds[name].append(time.perf_counter() - begin)
loss = plain_loss

# %% tags=["hide-input"]
with figure("Seconds for one gradient: each weight measured, and all of them derived",
            xlabel="number of weights", xscale="log", xticks=counts, xticklabels=counts,
            ylabel="seconds", yscale="log") as axes:  # fmt: skip
    for name, taken in seconds.items():
        axes.plot(counts, taken, "o-", label=name)

# %%
longer = [m / d for m, d in zip(*seconds.values(), strict=True)]
table(
    {
        "weights": counts,
        "losses computed to measure": [2 * K for K in counts],
        "measured, ms": [round(1000 * s, 2) for s in seconds["measured"]],
        "derived, ms": [round(1000 * s, 3) for s in seconds["derived"]],
        "times longer": [round(ratio) for ratio in longer],
    }
)

# %% [markdown]
# A network with a million weights would take two million losses for a single step of learning. So
# nobody learns by measuring.
#
# ## So: always derive, and check by measuring
#
# But a derivation can be wrong. Here is one with a mistake that is easily made: the input is
# forgotten, as if the weight were added and not multiplied. Nothing crashes. The shapes are right.
# Only the measurement tells.


# %%
def mistaken(X, y, w):
    error = (w * X).sum(axis=1) - y
    return (2 * error[:, None] * np.ones_like(X)).sum(axis=0) / len(X)


def relative_error(found, measured):
    return float(np.abs(found - measured).max() / np.abs(measured).max())


claims = {"derived": derived, "mistaken": mistaken(X, y, w)}
table(
    {
        "gradient": list(claims),
        "relative error": [f"{relative_error(g, measured):.0e}" for g in claims.values()],
        "right to 7 digits": [relative_error(g, measured) < 1e-7 for g in claims.values()],
    }
)
assert relative_error(derived, measured) < 1e-7 < 0.1 < relative_error(claims["mistaken"], measured)

# %% [markdown]
# That is the first and most important check of this course. How to do it for a network without
# going through each of its weights, and to nearly all digits, is lesson 22. What a check is worth
# is lesson 23.
#
# ## What changed in the code
#
# From measured to derived: the loop over weights is gone, and the chain rule has come.

# %%
code_diff(numerical, analytic, names=("measured", "derived"))

# %% [markdown]
# ## What torch now does for you
#
# It derives. No step $h$ is to be found in it. Each node is one step of the chain rule; the next
# lessons take them one by one.

# %%
leaf = torch.tensor(w, requires_grad=True)
t_error = (leaf * torch.tensor(X)).sum(dim=1) - torch.tensor(y)
t_loss = t_error.square().sum() / len(X)
grad_fn_table(
    t_loss,
    analytic,
    [
        ("Div", "/ len(X)"),
        ("Sum", "(every row adds to the loss: one each)"),
        ("Pow", "2 * error"),
        ("Sub", "(y is fixed: nothing to do)"),
        ("SumBackward1", "error[:, None]"),
        ("Mul", "error[:, None] * X"),
        ("AccumulateGrad", "(the gradient of w)"),
    ],
    {"w": leaf},
)
t_loss.backward()
same("the gradient, by hand and by torch", derived, leaf.grad, gauged(analytic, X, y, w))

# %% [markdown]
# ## Your turn
#
# **An exercise.** Derive it, and let the grader do the measuring. The function is
# $y = x\, \sigma(x)$ with $\sigma(x) = 1/(1 + e^{-x})$, whose slope is $\sigma(x) (1 - \sigma(x))$
# (lesson 3 derives that). You need the product rule; and multiply your slope by `dout`, what
# arrives from the rest of the calculation (lesson 3, too).
#
# ```sh
# handgrad exercise start swish
# handgrad exercise grade swish.py
# ```
#
# **On paper.** A central difference of $f(x) = x^3$ at $x = 1$ with $h = 0.1$: how wrong is it
# exactly?
#
# <details><summary>Answer</summary>
#
# $\frac{(1+h)^3 - (1-h)^3}{2h} = 3 + h^2$, so it is wrong by $h^2 = 0.01$: $\frac{h^2}{6} f^{(3)}
# = \frac{0.01}{6} \cdot 6$.
#
# </details>
#
# **Find the mistake.** Somebody's `swish` has this piece of code. This is to be the slope of $x\,
# \sigma(x)$. At $x = 0$ a measurement agrees. Why does that say nothing?
#
# ```python
# s + x * s
# ```
#
# <details><summary>Answer</summary>
#
# The factor $1 - \sigma$ of the second term is missing, and at 0 that term is 0 whatever its
# factor. Measure at several places.
#
# </details>
