# %% [markdown]
# # 15 · Vanishing and exploding gradients
#
# A gradient that goes back through many layers is a product of many factors. If most are below one
# it vanishes, if most are above one it explodes. We watch it happen, layer by layer, by hand and in
# torch alike, and see what two choices do about it: the activation and the initial weights.

# %% tags=["hide-input"]
import numpy as np
import torch

import manual
from teach.kit import (
    code_diff,
    figure,
    gauged,
    grad_fn_table,
    gradients,
    same,
    same_all,
    table,
    torch_gradients,
)

# %% [markdown]
# ## A chain of single neurons, and the bound of 0.25
#
# $\sigma' = \sigma (1 - \sigma)$ is largest where $\sigma = \frac{1}{2}$, and there it is
# $\frac{1}{4}$: a sigmoid takes away at least three quarters of a gradient. In a chain $a_l =
# \sigma(w_l a_{l-1})$ each layer puts one such factor into the gradient:
#
# $$\frac{\partial a_L}{\partial w_1} = x\, \sigma'(z_1) \prod_{l=2}^{L} w_l\, \sigma'(z_l)
# \quad \Rightarrow \quad
# \left|\frac{\partial a_L}{\partial w_1}\right| \le
# \frac{|x|}{4^L} \quad \text{if all } |w_l| \le 1$$


# %%
def sigmoid_chain(x, w):
    a = [x]
    for l in range(len(w)):
        z = w[l] * a[l]
        a.append(1 / (1 + np.exp(-z)))
    grads, upstream = {}, 1.0
    for l in range(len(w) - 1, -1, -1):
        dz = upstream * a[l + 1] * (1 - a[l + 1])
        grads[f"w{l + 1}"] = dz * a[l]
        upstream = dz * w[l]
    return grads


def torch_chain(x, w, activation):
    a, leaves = torch.tensor(x), {}
    for l in range(len(w)):
        leaves[f"w{l + 1}"] = torch.tensor(w[l], requires_grad=True)
        a = activation(leaves[f"w{l + 1}"] * a)
    return a, leaves


x = np.array(1.0)
assert max(s * (1 - s) for s in np.linspace(0, 1, 1001)) == 0.25
depths = [1, 2, 4, 8, 16, 32]
first = []
for depth in depths:
    w = np.ones(depth)
    output, leaves = torch_chain(x, w, torch.sigmoid)
    output.backward()
    theirs = {name: leaf.grad for name, leaf in reversed(leaves.items())}
    rounding = gauged(sigmoid_chain, x, w)
    same_all(sigmoid_chain(x, w), theirs, rounding, name=f"chain of {depth}")
    first.append(float(sigmoid_chain(x, w)["w1"]))
    assert first[-1] <= 0.25**depth
table(
    {
        "depth L": depths,
        "∂a_L/∂w1, all w = 1": first,
        "the bound 4^-L": [0.25**depth for depth in depths],
    }
)

# %% [markdown]
# ## The same in a network
#
# BP2 says $\delta^l = ((W^{l+1})^\top \delta^{l+1}) \odot \sigma'(z^l)$. With $\|W\|$ the largest
# factor by which $W$ can stretch a vector (its spectral norm), in every sigmoid layer
#
# $$\|\delta^l\| \le \tfrac{1}{4}\, \|W^{l+1}\|\, \|\delta^{l+1}\|$$
#
# We build twelve networks from `manual` and the same from torch: 20 layers of 32 units, three
# activations, four ways to draw the initial weights. All errors $\delta^l = \partial L / \partial
# z^l$ and all parameter gradients are compared before any of them is shown.

# %%
WIDTH, N = 32, 64
rng = np.random.default_rng(10)
X, Y = rng.normal(size=(N, WIDTH)), rng.normal(size=(N, 1))
SCHEMES = {
    "small: N(0, 0.05²)": ("normal", {"std": 0.05}),
    "Xavier: 2/(in + out)": ("xavier_normal", {}),
    "Kaiming: 2/in": ("kaiming_normal", {}),
    "large: N(0, 0.5²)": ("normal", {"std": 0.5}),
}


def parts(activation, depth, side):
    """Linear, activation, …, Linear; side is `manual` or `torch.nn`. Node 2l is a Linear."""
    hidden = [part for _ in range(depth)
              for part in (side.Linear(WIDTH, WIDTH), getattr(side, activation)())]  # fmt: skip
    return [*hidden, side.Linear(WIDTH, 1)]


def drawn(activation, scheme, depth):
    shapes = {
        n: p.shape for n, p in manual.Sequential(*parts(activation, depth, manual)).params.items()
    }
    name, settings = SCHEMES[scheme]
    return manual.initialize(shapes, name, np.random.default_rng(0), bias="zeros", **settings)


def by_hand(activation, depth, params, X, Y):
    graph = manual.Sequential(*parts(activation, depth, manual)).with_params(params)
    tape, loss = graph.run(X), manual.MSELoss()
    (upstream, *_), _ = loss.backward(1.0, loss.forward(tape.output, Y)[1])
    found = graph.gradients(tape, upstream)
    return {**{f"δ{l + 1}": found.values[f"{2 * l}"] for l in range(depth)}, **found.params}


def by_torch(activation, depth, params, X, Y):
    model = torch.nn.Sequential(*parts(activation, depth, torch.nn)).double()
    model.load_state_dict({name: torch.tensor(p) for name, p in params.items()})
    values = [torch.tensor(X)]
    for module in model:
        values.append(module(values[-1]))
        values[-1].retain_grad()
    torch.nn.functional.mse_loss(values[-1], torch.tensor(Y)).backward()
    named = {name: p.grad for name, p in reversed(list(model.named_parameters()))}
    return {**{f"δ{l + 1}": values[2 * l + 1].grad for l in range(depth)}, **named}


def compared(activation, cases):
    """Gradients of several (scheme, depth), by hand, after comparing each tensor with torch's."""
    runs = {c: (activation, c[1], drawn(activation, *c), X, Y) for c in cases}
    sides = [{c: side(*run) for c, run in runs.items()} for side in (by_hand, by_torch)]
    sides.append({c: gauged(by_hand, *run) for c, run in runs.items()})
    flat = [{f"{c} {k}": v for c in side for k, v in side[c].items()} for side in sides]
    same_all(*flat, name=f"{len(cases)} {activation} networks")
    return sides[0]


def sizes(found, what):
    return [float(np.linalg.norm(v)) for k, v in found.items() if what in k]


ACTIVATIONS = ("Sigmoid", "Tanh", "ReLU")
found = {a: compared(a, [(scheme, 20) for scheme in SCHEMES]) for a in ACTIVATIONS}
delta = {(a, s): sizes(found[a][s, 20], "δ") for a in ACTIVATIONS for s in SCHEMES}

# %% [markdown]
# What is left of the error in the first layer, as a share of the last hidden layer's. Only tanh and
# ReLU keep its size, and only with weights of a fitting size.

# %%
share = {(a, s): delta[a, s][0] / delta[a, s][-1] for a in ACTIVATIONS for s in SCHEMES}
table(
    {
        "initial weights": list(SCHEMES),
        **{a: [share[a, s] for s in SCHEMES] for a in ACTIVATIONS},
    }
)
usual = {"Sigmoid": "Xavier: 2/(in + out)", "Tanh": "Xavier: 2/(in + out)", "ReLU": "Kaiming: 2/in"}
layers = range(1, 21)
with figure("Activation: with fitting initial weights tanh and ReLU keep the error's size",
            xlabel="layer", ylabel="‖δ‖", yscale="log", steps=True) as axes:  # fmt: skip
    for activation, scheme in usual.items():
        axes.plot(layers, delta[activation, scheme], label=f"{activation}, {scheme.split(':')[0]}")
with figure("Initialisation: one ReLU network, four sizes of initial weights", xlabel="layer",
            ylabel="‖δ‖", yscale="log", steps=True) as axes:  # fmt: skip
    for scheme in SCHEMES:
        axes.plot(layers, delta["ReLU", scheme], label=scheme.split(":")[0])
small, *_, large = SCHEMES
assert all(share["Sigmoid", s] < 1e-5 for s in SCHEMES)
for a in ("Tanh", "ReLU"):
    assert share[a, small] < 1e-9 < 0.1 < share[a, usual[a]] < 10 < 100 < share[a, large]

# %% [markdown]
# Now the bound, in the sigmoid network with Xavier's weights: what a layer makes of the error, and
# what it may make of it at most.

# %%
params = drawn("Sigmoid", usual["Sigmoid"], 20)
size = [*delta["Sigmoid", usual["Sigmoid"]]]
stretch = [float(np.linalg.norm(params[f"{2 * l}.weight"], 2)) for l in range(20)]
bounds = [0.25 * stretch[l + 1] * size[l + 1] for l in range(19)]
assert all(small <= bound for small, bound in zip(size, bounds, strict=False))
shown = [0, 6, 12, 18]
table(
    {
        "layer": [l + 1 for l in shown],
        "‖δ‖": [size[l] for l in shown],
        "at most ¼ ‖W‖ ‖δ above‖": [bounds[l] for l in shown],
        "‖W‖": [stretch[l + 1] for l in shown],
        "‖δ‖ / ‖δ above‖": [size[l] / size[l + 1] for l in shown],
    }
)

# %% [markdown]
# ## Depth
#
# The first layer's error against the number of layers, with the same fitting weights. On a
# logarithmic scale a constant factor per layer is a straight line.

# %%
depths = [1, 2, 4, 8, 16, 24]
first = {}
for a, s in usual.items():
    of_depth = compared(a, [(s, depth) for depth in depths])
    first[a] = [sizes(of_depth[s, depth], "δ1")[0] for depth in depths]
with figure("The error that reaches the first layer, against depth", xlabel="hidden layers",
            ylabel="‖δ¹‖", yscale="log", steps=True) as axes:  # fmt: skip
    for activation, values in first.items():
        axes.plot(
            depths, values, marker="o", label=f"{activation}, {usual[activation].split(':')[0]}"
        )
assert first["Sigmoid"][-1] < 1e-12 * first["Sigmoid"][0]
assert first["ReLU"][-1] > 1e-2 * first["ReLU"][0]

# %% [markdown]
# ## Why these initial weights
#
# Going back through a layer, $\delta^l_i = f'(z_i) \sum_o W_{oi}\, \delta^{l+1}_o$ is a sum over
# the $n$ units above. Independent weights of variance $s^2$ make its mean square $n s^2$ times as
# large, and ReLU sets half of the slopes to zero:
#
# $$\frac{E\, (\delta^l)^2}{E\, (\delta^{l+1})^2} = \frac{n s^2}{2} \quad \text{(ReLU)}$$
#
# So Kaiming's $s^2 = 2/n$ keeps the size. Tanh has slope 1 at zero, hence Xavier's $s^2 = 1/n$ for
# layers of equal size. The sigmoid's slope is at best $\frac{1}{4}$: weights that are large enough
# to make up for it drive the units to where the slope is smaller still.

# %%
predicted = [(WIDTH / 2) ** 0.5 * s for s in (0.05, WIDTH**-0.5, (2 / WIDTH) ** 0.5, 0.5)]
measured = [(delta["ReLU", s][0] / delta["ReLU", s][-1]) ** (1 / 19) for s in SCHEMES]
weights = [sizes(found["ReLU"][s, 20], ".weight") for s in SCHEMES]
table(
    {
        "ReLU network": list(SCHEMES),
        "factor per layer, √(n s²/2)": predicted,
        "measured over 19 layers": measured,
        "‖∂L/∂W‖ of layer 1": [w[-1] for w in weights],
        "… of layer 20": [w[1] for w in weights],
    }
)
assert all(abs(m / p - 1) < 0.1 for m, p in zip(measured, predicted, strict=True))
assert all(0.1 < w[-1] / w[1] < 10 for w in weights)

# %% [markdown]
# The last two columns hold a surprise: in a ReLU network the **weights'** gradients are of one
# order of size in the first and the last layer, even here. $\partial L/\partial W = \delta^\top a$,
# and the activation $a$ shrinks going forward just as $\delta$ does going back. So they vanish or
# explode all together: compare the rows.
#
# ## Recurrent networks: one factor, again and again
#
# A recurrent network uses **one** matrix at every time step, $h_t = h_{t-1} W^\top + x_t$. So its
# gradient goes back through the same matrix again and again, $\delta_{t-1} = \delta_t W$. Here $W$
# is $\rho$ times a rotation: after $T$ steps the factor is $\rho^T$. With $\rho > 1$ it explodes.


# %%
def back_through_time(W, x, steps):
    h = x[0]
    for t in range(1, steps):
        h = h @ W.T + x[t]
    delta = {f"t{steps - 1}": 2 * h}  # the loss is Σ h² of the last step
    for t in range(steps - 1, 0, -1):
        delta[f"t{t - 1}"] = delta[f"t{t}"] @ W
    return delta


def kept(W, x, steps):
    delta = back_through_time(W, x, steps)
    end, start = delta[f"t{steps - 1}"], delta["t0"]
    return np.sqrt((start * start).sum() / (end * end).sum())


def time_by_autograd(W, x, steps):
    W, x = torch.tensor(W), torch.tensor(x)
    h = [x[0].clone().requires_grad_()]
    for t in range(1, steps):
        h.append(h[-1] @ W.T + x[t])
        h[-1].retain_grad()
    h[-1].square().sum().backward()
    return {f"t{t}": h[t].grad for t in range(steps - 1, -1, -1)}


STEPS = 50
rotation = np.linalg.qr(rng.normal(size=(8, 8)))[0]
inputs = rng.normal(size=(STEPS, 8))
with figure("One matrix, 50 times: the error going back in time", xlabel="steps back",
            ylabel="‖δ‖ / ‖δ at the end‖", yscale="log", steps=True) as axes:  # fmt: skip
    for rho in (1.2, 1.0, 0.8):
        case = rho * rotation, inputs, STEPS
        ours, errors = back_through_time(*case), gauged(back_through_time, *case)
        same_all(ours, time_by_autograd(*case), errors, name=f"ρ = {rho}, {STEPS} steps")
        factor = kept(*case)
        same(f"the factor {factor:.3g}, and ρ^49", factor, rho**49, gauged(kept, *case))
        back = [float(np.linalg.norm(d)) for d in ours.values()]
        axes.plot([size / back[0] for size in back], label=f"ρ = {rho}")

# %% [markdown]
# The usual answer to an explosion is to **clip**: if the joint norm of all gradients is larger than
# a bound, shorten them by one factor. The direction stays.

# %%
params = drawn("ReLU", "large: N(0, 0.5²)", 20)
exploded = {k: v for k, v in found["ReLU"]["large: N(0, 0.5²)", 20].items() if "δ" not in k}
clipped, norm = manual.clip_grad_norm(exploded, 1.0)
leaves = {name: torch.tensor(p, requires_grad=True) for name, p in params.items()}
for name, leaf in leaves.items():
    leaf.grad = torch.tensor(exploded[name])
t_norm = torch.nn.utils.clip_grad_norm_(leaves.values(), 1.0)
rounding = gauged(manual.clip_grad_norm, exploded, 1.0)
same("the joint norm", norm, t_norm, rounding[1])
same_all(clipped, {name: leaves[name].grad for name in clipped}, rounding[0], name="clipped")
print(f"the joint norm was {float(norm):.3g}")

# %% [markdown]
# ## Dying ReLUs
#
# ReLU's own weakness: a unit whose $z$ is negative for every row outputs 0 and has slope 0. Nothing
# reaches its weights any more, so it stays dead. One step that is too long is enough: with inputs
# that are never negative, as pixels are, a step tends to move all rows' $z$ of a unit the same
# way. We take one step with each of several learning rates, and count.

# %%
rows, targets = np.abs(X), Y
shape = {"0.weight": (64, WIDTH), "0.bias": (64,), "2.weight": (1, 64), "2.bias": (1,)}
start = manual.initialize(shape, "kaiming_normal", np.random.default_rng(1), bias="zeros")


def shallow(activation, side):
    return [side.Linear(WIDTH, 64), getattr(side, activation)(), side.Linear(64, 1)]


def shallow_gradients(activation, params, X, Y):
    graph = manual.Sequential(*shallow(activation, manual))
    return gradients(graph, manual.MSELoss(), params, X, Y)


def shallow_by_torch(activation, params, X, Y):
    model = torch.nn.Sequential(*shallow(activation, torch.nn))
    return torch_gradients(model, torch.nn.MSELoss(), params, X, Y)


def stepped(lr):
    gradient = shallow_gradients("ReLU", start, rows, targets)
    return {name: start[name] - lr * gradient[name] for name in start}


def dead_units(params):
    z = rows @ params["0.weight"].T + params["0.bias"]
    return (z <= 0).all(axis=0)


rates = [0.0, 0.01, 0.03, 0.1, 0.3, 1.0]
dead_after = [int(dead_units(stepped(lr)).sum()) for lr in rates]
table({"learning rate": rates, "dead units of 64 after one step": dead_after})
assert dead_after[-1] > 10 > dead_after[0]

# %% [markdown]
# The dead units' gradients are not small, they are zero, by hand and in torch. With a leaky ReLU,
# from the very same weights, they are alive: its slope on the left is small but not zero.

# %%
broken = stepped(1.0)
dead = dead_units(broken)
for activation in ("ReLU", "LeakyReLU"):
    task = activation, broken, rows, targets
    ours, theirs = shallow_gradients(*task), shallow_by_torch(*task)
    same_all(ours, theirs, gauged(shallow_gradients, *task), name=f"all gradients, {activation}")
    row_norms = np.linalg.norm(ours["0.weight"][dead], axis=1)
    print(f"{activation}: the {dead.sum()} units' gradients have norms up to {row_norms.max():.3g}")
    if activation == "ReLU":
        same("dead, by hand", ours["0.weight"][dead], np.zeros((dead.sum(), WIDTH)), zero=True)
        same("dead, in torch", theirs["0.weight"][dead], np.zeros((dead.sum(), WIDTH)), zero=True)
    else:
        assert row_norms.min() > 0

# %% [markdown]
# ## What changed in the code
#
# The cure is two lines: another activation, and its slope. In the chain with all weights 1, nothing
# is lost any more. (The presets `deep-sigmoid` and `deep-relu` learn digits with twelve layers; the
# reports of `handgrad run` hold the norm of every tensor.)


# %%
def relu_chain(x, w):
    a = [x]
    for l in range(len(w)):
        z = w[l] * a[l]
        a.append(np.maximum(z, 0))
    grads, upstream = {}, 1.0
    for l in range(len(w) - 1, -1, -1):
        dz = upstream * (a[l + 1] > 0)
        grads[f"w{l + 1}"] = dz * a[l]
        upstream = dz * w[l]
    return grads


code_diff(sigmoid_chain, relu_chain, names=("sigmoid", "ReLU"))
w = np.ones(32)
output, leaves = torch_chain(x, w, torch.relu)
output.backward()
in_torch = {name: leaf.grad for name, leaf in reversed(leaves.items())}
same_all(relu_chain(x, w), in_torch, name="chain of 32 ReLUs, whose gradients are all 1")
same("∂a_32/∂w1", relu_chain(x, w)["w1"], 1.0)

# %% [markdown]
# ## What torch now does for you
#
# Each layer of the chain is a `Sigmoid` and a `Mul` node: the two factors of the product. Autograd
# multiplies them as we do; it cannot save a gradient that the network itself loses.

# %%
w = np.array([1.0, -0.5, 2.0])
output, leaves = torch_chain(x, w, torch.sigmoid)
link = [("Sigmoid", "dz = upstream * a[l + 1] * (1 - a[l + 1])"),
        ("Mul", 'grads[f"w{l + 1}"] = dz * a[l]', "upstream = dz * w[l]"),
        ("AccumulateGrad", 'grads[f"w{l + 1}"]')]  # fmt: skip
grad_fn_table(output, sigmoid_chain, [*link, *link, *link], leaves)
output.backward()
in_torch = {name: leaf.grad for name, leaf in reversed(leaves.items())}
same_all(sigmoid_chain(x, w), in_torch, gauged(sigmoid_chain, x, w))

# %% [markdown]
# ## Your turn
#
# **An exercise.** One link of the chain.
#
# ```sh
# handgrad exercise start sigmoid_chain
# handgrad exercise grade sigmoid_chain.py
# ```
#
# **On paper.** Ten sigmoid layers with weights 1. By what factor at least has a gradient shrunk
# on its way through?
#
# <details><summary>Answer</summary>
#
# By $4^{10} = 1{,}048{,}576$: each layer leaves at most a quarter.
#
# </details>
#
# **Find the mistake.** Somebody's `sigmoid_chain` has this piece of code. What would the plot of
# this lesson show with it?
#
# ```python
# dw = dout @ x
# ```
#
# <details><summary>Answer</summary>
#
# The sigmoid's slope is left out, so gradients would not vanish: a mistake that looks like a
# cure.
#
# </details>
