# %% [markdown]
# # 7 · Activations: the curve, its slope, and where it goes flat
#
# A neuron squashes its sum. Any function with a slope can do that, and only its slope enters the
# gradient. We draw the usual ones with their slopes, and look at the places where the slope is
# nearly zero: there a neuron hardly learns.

# %% tags=["hide-input"]
import numpy as np
import torch

import manual
from teach.kit import COLOURS, code_diff, figure, gauged, grad_fn_table, same_all, table

# %% [markdown]
# ## Seven functions and their slopes
#
# In lesson 6 the error of a sigmoid neuron was $\delta = (a - y)\, \sigma'(z)$. With another
# function $f$ it is $(a - y)\, f'(z)$: put the slope in, and that is all.
#
# | | $f(z)$ | $f'(z)$ |
# | --- | --- | --- |
# | sigmoid | $\sigma(z) = 1 / (1 + e^{-z})$ | $\sigma(z) (1 - \sigma(z))$ |
# | tanh | $\tanh z$ | $1 - \tanh^2 z$ |
# | ReLU | $\max(0, z)$ | 1 if $z > 0$, else 0 |
# | leaky ReLU | $\max(0.1 z, z)$ | 1 if $z > 0$, else 0.1 |
# | ELU | $z$ if $z > 0$, else $\alpha (e^z - 1)$ | 1 if $z > 0$, else $\alpha e^z$ |
# | swish | $z\, \sigma(z)$ | $\sigma(z) + z\, \sigma(z) (1 - \sigma(z))$ |
# | linear | $z$ | 1 |
#
# (Torch calls the swish `SiLU`; its leaky ReLU has the slope 0.01 if none is given. The kinks at 0
# are a matter of lesson 23.)


# %%
def f(z):
    return 1.0 / (1.0 + np.exp(-z))


rng = np.random.default_rng(7)
functional, alpha = torch.nn.functional, 0.7
SQUASHERS = {  # f, f', manual's layer, torch's function
    "sigmoid": (f, lambda z: f(z) * (1 - f(z)), manual.Sigmoid(), torch.sigmoid),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2, manual.Tanh(), torch.tanh),
    "ReLU": (lambda z: np.maximum(0, z), lambda z: z > 0, manual.ReLU(), torch.relu),
    "leaky ReLU": (
        lambda z: np.maximum(0.1 * z, z),
        lambda z: np.where(z > 0, 1, 0.1),
        manual.LeakyReLU(0.1),
        lambda z: functional.leaky_relu(z, 0.1),
    ),
    "ELU": (
        lambda z: np.where(z > 0, z, alpha * (np.exp(z) - 1)),
        lambda z: np.where(z > 0, 1, alpha * np.exp(z)),
        manual.ELU(alpha),
        lambda z: functional.elu(z, alpha),
    ),
    "swish": (
        lambda z: z * f(z),
        lambda z: f(z) + z * f(z) * (1 - f(z)),
        manual.SiLU(),
        functional.silu,
    ),
    "linear": (lambda z: z, lambda z: 1, manual.Identity(), lambda z: z * 1),
}
SLOPES = {name: slope for name, (_, slope, *_) in SQUASHERS.items()}
zs, upstream = rng.normal(0, 2, size=20), rng.normal(size=20)


def squash(f, slope, z, dy):
    return {"a": f(z), "δ": dy * slope(z)}


def squash_by_layer(layer, z, dy):
    a, cache = layer.forward(z)
    return {"a": a, "δ": layer.backward(dy, cache)[0][0]}


for name, (function, slope, layer, torch_function) in SQUASHERS.items():
    found = squash(function, slope, zs, upstream)
    rounding = gauged(squash, function, slope, zs, upstream)
    z = torch.tensor(zs, requires_grad=True)
    t_out = torch_function(z)
    t_out.backward(torch.tensor(upstream))
    same_all(found, squash_by_layer(layer, zs, upstream), rounding, name=f"{name}, manual")
    same_all(found, {"a": t_out, "δ": z.grad}, rounding, name=f"{name}, torch")


# %% [markdown]
# ## The curves
#
# Which of them stay between two numbers? Which are flat on one side, which on both? The lines below
# are the functions, the broken lines their slopes.

# %% tags=["hide-input"]
line = np.linspace(-5, 5, 401)


def curves(label, names, ylim):
    with figure(label, xlabel="z", ylabel="f, and f' (broken)", ylim=ylim) as axes:
        for i, name in enumerate(names, start=1):
            function, slope, *_ = SQUASHERS[name]
            axes.plot(line, function(line), color=COLOURS[f"s{i}"], label=name)
            axes.plot(line, slope(line) * np.ones(401), "--", linewidth=1, color=COLOURS[f"s{i}"])


# %%
curves("They level off on both sides", ["sigmoid", "tanh"], (-1.1, 1.1))
curves("They level off on one side, or not at all", ["ReLU", "leaky ReLU", "ELU", "swish"],
       (-1.1, 3.1))  # fmt: skip
steepest = {name: float(np.max(slope(line) * np.ones(401))) for name, slope in SLOPES.items()}
table({"activation": list(steepest), "steepest slope between -5 and 5": list(steepest.values())})
assert steepest["sigmoid"] == 0.25  # at z = 0
assert all(abs(steepest[name] - 1) < 1e-12 for name in ("tanh", "ReLU", "leaky ReLU", "linear"))
assert 1 < steepest["swish"] < 1.1

# %% [markdown]
# The sigmoid is never steeper than $\frac{1}{4}$, so it takes away at least three quarters of each
# gradient that goes back through it. Lesson 15 shows what that does to a deep network.
#
# ELU's slope at 0 depends on the side: 1 on the right, $\alpha$ on the left. Only with $\alpha = 1$
# are they the same and is the curve smooth.

# %%
h = 1e-9
elu = SQUASHERS["ELU"][0]
sides = [(elu(h) - elu(0.0)) / h, (elu(0.0) - elu(-h)) / h]
print(f"ELU at 0: slope {sides[0]:.4f} on the right, {sides[1]:.4f} on the left (α = {alpha})")
assert abs(sides[0] - 1) < 1e-6
assert abs(sides[1] - alpha) < 1e-6

# %% [markdown]
# ## Saturation: a flat curve makes a flat cost
#
# A sigmoid neuron with $z = 10$ outputs 0.99995. Suppose 0 was wanted: it could not be more wrong.
# With the cost $C = \frac{1}{2} a^2$ the slope is $\frac{dC}{dz} = a\, \sigma'(z)$. Where is it
# steep, where is it flat?


# %%
def cost_and_slope(z):
    a = f(z)
    return {"C": a * a / 2, "dC/dz": a * a * (1 - a)}


wide = np.linspace(-10, 10, 401)
found = cost_and_slope(wide)
with figure("The target is 0: far on the right all is wrong, and the cost is flat", xlabel="z",
            ylabel="C, and dC/dz") as axes:  # fmt: skip
    axes.plot(wide, found["C"], label="the cost C")
    axes.plot(wide, found["dC/dz"], "--", label="its slope")
places = np.array([0.0, 2.0, 5.0, 10.0])
at = cost_and_slope(places)
table({"z": places, "a": f(places), "σ'(z)": f(places) * (1 - f(places)), "cost": at["C"],
       "slope of the cost": at["dC/dz"]})  # fmt: skip
t_z = torch.tensor(places, requires_grad=True)
t_C = torch.sigmoid(t_z).square() / 2
t_C.sum().backward()
same_all(at, {"C": t_C, "dC/dz": t_z.grad}, gauged(cost_and_slope, places))
assert at["C"][3] > at["C"][0]
assert at["dC/dz"][3] < 1e-3 * at["dC/dz"][1]

# %% [markdown]
# The steepest place is at $a = \frac{2}{3}$. (From $\frac{d}{da}\, a^2 (1 - a) = 2a - 3a^2 = 0$.)
# Beyond it, the more wrong the neuron is, the *less* it is corrected. Such a neuron is
# **saturated**. There are three cures, and each has a lesson: another loss (lesson 10), other
# initial weights (15), another activation (also 15).

# %%
steepest_at = wide[np.argmax(found["dC/dz"])]
print(f"steepest at z = {steepest_at:.2f}, where a = {f(steepest_at):.3f}")
assert abs(f(steepest_at) - 2 / 3) < 0.01

# %% [markdown]
# ## Maxout: the larger of two neurons
#
# **Maxout** has no fixed function: $a = \max(w_1^\top x + b_1,\ w_2^\top x + b_2)$ is the larger of
# two linear neurons. It is a max gate: the whole error goes to the neuron that won.


# %%
def maxout(x, W, b):
    z = W @ x + b  # (2,): two neurons, a row of W for each
    won = np.array([z[0] > z[1], z[1] > z[0]]) * 1.0
    return {"a": np.maximum(z[0], z[1]), "x": won @ W, "W": won[:, None] * x[None, :], "b": won}


two = {
    "x": np.array([-1.0, -2.0]),
    "W": np.array([[2.0, -3.0], [0.5, 1.0]]),
    "b": np.array([-3.0, 0.25]),
}
pieces = {name: torch.tensor(value, requires_grad=True) for name, value in two.items()}
t_max = (pieces["W"] @ pieces["x"] + pieces["b"]).max()
t_max.backward()
rounding = {**gauged(maxout, *two.values()), "b": None}  # won is exact
same_all(maxout(*two.values()), {"a": t_max, **{k: p.grad for k, p in pieces.items()}}, rounding)
unit = manual.Maxout(2, 1).with_params({"weight": two["W"][:, None], "bias": two["b"][:, None]})
a_max, cache = unit.forward(two["x"])
(dx,), own = unit.backward(np.ones(1), cache)
same_all(
    {"a": a_max[0], "x": dx, "W": own["weight"][:, 0], "b": own["bias"][:, 0]},
    maxout(*two.values()),
    rounding,
    name="manual.Maxout",
)


# %% [markdown]
# ## What changed in the code
#
# From sigmoid to tanh only two expressions change: the function and its slope. The chain rule
# around them stays.


# %%
def sigmoid_neuron(x, y, w, b):
    z = np.sum(x * w) + b
    a = 1 / (1 + np.exp(-z))
    delta = (a - y) * a * (1 - a)
    return {"w": delta * x, "b": delta}


def tanh_neuron(x, y, w, b):
    z = np.sum(x * w) + b
    a = np.tanh(z)
    delta = (a - y) * (1 - a * a)
    return {"w": delta * x, "b": delta}


code_diff(sigmoid_neuron, tanh_neuron, names=("sigmoid", "tanh"))

# %% [markdown]
# ## What torch now does for you
#
# One node for the activation, whichever it is; it has kept what its slope needs.

# %%
neuron = np.array([-1.0, -2.0]), np.array(1.0), np.array([0.5, -0.3]), np.array(0.1)
t_x, t_y, t_w, t_b = (torch.tensor(value) for value in neuron)
leaves = {"w": t_w.requires_grad_(), "b": t_b.requires_grad_()}
t_cost = (torch.tanh(torch.dot(t_x, t_w) + t_b) - t_y).square() / 2
grad_fn_table(
    t_cost,
    tanh_neuron,
    [
        ("Div", "(the ½, which cancels the 2 of the square)"),
        ("Pow", "(a - y)"),
        ("Sub", "(the target is a constant: nothing to do)"),
        ("Tanh", "(1 - a * a)"),
        ("Add", '"b": delta'),
        ("AccumulateGrad", '"b": delta'),
        ("Dot", "delta * x"),
        ("AccumulateGrad", '"w": delta * x'),
    ],
    leaves,
)
t_cost.backward()
same_all(tanh_neuron(*neuron), {n: leaf.grad for n, leaf in leaves.items()},
         gauged(tanh_neuron, *neuron))  # fmt: skip

# %% [markdown]
# ## Your turn
#
# **An exercise.** The slope from the output. (Then `relu`.)
#
# ```sh
# handgrad exercise start tanh
# handgrad exercise grade tanh.py
# ```
#
# **On paper.** Show that $\tanh z = 2 \sigma(2z) - 1$, and find the largest slope of tanh from
# that of the sigmoid.
#
# <details><summary>Answer</summary>
#
# Multiply $\frac{e^z - e^{-z}}{e^z + e^{-z}}$ above and below by $e^z$:
# $\frac{e^{2z} - 1}{e^{2z} + 1} = \frac{2}{1 + e^{-2z}} - 1$. The slope is $4 \sigma'(2z)$, so at
# most $4 \cdot \frac{1}{4} = 1$.
#
# </details>
#
# **Find the mistake.** Somebody's `tanh` has this piece of code. Whose slope is it, and what
# becomes of a tanh network with it?
#
# ```python
# y * (1 - y)
# ```
#
# <details><summary>Answer</summary>
#
# It is the sigmoid's. For $y < 0$ it has the wrong sign: half of the neurons climb.
#
# </details>
