# %% [markdown]
# # 9 · The four equations of backpropagation
#
# Four equations are all there is to backpropagation in a fully connected network. We evaluate each
# on the 3-4-4-2 network and a row of its training data, beside what autograd finds, and then check
# the picture behind them: a gradient is a sum over all paths from the weight to the cost.

# %% tags=["hide-input"]
from itertools import pairwise, product

import numpy as np
import torch

import manual
from compare.description.data.datasets import make
from teach.kit import (
    code_diff,
    code_of,
    figure,
    gauged,
    grad_fn_table,
    neurons,
    same,
    same_all,
    show,
    table,
)

# %%
neurons([3, 4, 4, 2], "The 3-4-4-2 network")
rows = make("three_rows", {})
X, T = rows.features, rows.labels  # (3, 3), (3, 2): inputs and targets
table(dict(zip(["x1", "x2", "x3", "o1", "o2"], np.c_[X, T].T, strict=True)))

# %% [markdown]
# ## The network
#
# Layer $l$ holds a weight matrix $w^l$ (outputs × inputs, as torch stores it) and biases $b^l$. Its
# **weighted input** is $z^l = w^l a^{l-1} + b^l$, its activation $a^l = \sigma(z^l)$, and
# $a^0 = x$. The error of one row is $E = \sum_k \frac{1}{2} (t_k - a^L_k)^2$.
#
# (The targets are larger than 1, which a sigmoid cannot reach: a linear output layer would suit
# them better. The gradients are as real as any.)

# %%
sizes = [3, 4, 4, 2]
rng = np.random.default_rng(6)
w = {l: rng.normal(size=(n, m)) for l, (m, n) in enumerate(pairwise(sizes), start=1)}
b = {l: rng.normal(size=n) for l, n in enumerate(sizes[1:], start=1)}


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def forward(x, w, b):
    a, z = {0: x}, {}
    for l in w:
        z[l] = w[l] @ a[l - 1] + b[l]
        a[l] = sigmoid(z[l])
    return a, z


x, t = X[0], T[0]
a, z = forward(x, w, b)
E = 0.5 * np.sum((t - a[3]) ** 2)
print(f"row 1: output {a[3].round(4)}, target {t}, E = {E:.4f}")

# %% [markdown]
# Beside it, autograd on the same row. `retain_grad` asks it to keep the gradients of the $z^l$,
# which are the errors $\delta^l$ that we are after.

# %%
tw = {l: torch.tensor(w[l], requires_grad=True) for l in w}
tb = {l: torch.tensor(b[l], requires_grad=True) for l in b}
ta, tz = {0: torch.tensor(x)}, {}
for l in tw:
    tz[l] = tw[l] @ ta[l - 1] + tb[l]
    ta[l] = torch.sigmoid(tz[l])
    tz[l].retain_grad()
    ta[l].retain_grad()
t_loss = 0.5 * (torch.tensor(t) - ta[3]).square().sum()
t_loss.backward()

# %% [markdown]
# ## BP1: the error at the output
#
# The error of a neuron is $\delta^l_j = \partial C / \partial z^l_j$: how much the cost changes if
# its weighted input does. Start at the output. The cost is a function of the activations, so ask:
# *which activations does $z^L_j$ change?*
#
# $$\delta^L_j = \frac{\partial C}{\partial z^L_j}
# = \sum_k \frac{\partial C}{\partial a^L_k} \frac{\partial a^L_k}{\partial z^L_j}$$
#
# With $a^L_k = \sigma(z^L_k)$ only its own: $\partial a^L_k / \partial z^L_j$ is
# $\sigma'(z^L_j)$ if $k = j$, and else 0. One term of the sum is left:
#
# $$\delta^L_j = \frac{\partial C}{\partial a^L_j}\, \sigma'(z^L_j)$$
#
# For all $j$ at once, there are two ways to write that. The **Hadamard product** $s \odot t$
# multiplies element by element. Or put the slopes on the diagonal of a matrix:
#
# $$\delta^L = \nabla_a C \odot \sigma'(z^L) = \Sigma'(z^L)\, \nabla_a C$$
#
# $\Sigma'(z^L)$, with zeros beside the diagonal, is the table of all
# $\partial a^L_k / \partial z^L_j$: the activation's Jacobian (lesson 5). Here
# $\nabla_a C = a^L - t$.


# %%
def four_equations(x, t, w, b):
    a, _ = forward(x, w, b)
    delta, grads = {}, {}
    delta[3] = (a[3] - t) * a[3] * (1 - a[3])  # BP1
    for l in (2, 1):
        delta[l] = (w[l + 1].T @ delta[l + 1]) * a[l] * (1 - a[l])  # BP2
    for l in (3, 2, 1):
        grads[f"b{l}"] = delta[l]  # BP3
        grads[f"w{l}"] = delta[l][:, None] * a[l - 1][None, :]  # BP4
    return {**{f"δ{l}": delta[l] for l in delta}, **grads}


found = four_equations(x, t, w, b)
rounding = gauged(four_equations, x, t, w, b)
gradient_a, slope = a[3] - t, a[3] * (1 - a[3])
same("∇_a C", gradient_a, ta[3].grad, gauged(lambda *s: forward(*s)[0][3] - t, x, w, b))
same("BP1, element by element", found["δ3"], tz[3].grad, rounding["δ3"])
same("BP1, with the matrix Σ'", np.diag(slope) @ gradient_a, tz[3].grad, rounding["δ3"])
show(f"Σ'(z) =\n{np.diag(slope).round(4)}")

# %% [markdown]
# ## BP2: the error one layer down
#
# Suppose we know all errors $\delta^{l+1}_k$ of one layer. What is $\delta^l_j$, one layer down?
# Ask again: *which numbers does $z^l_j$ change?* It changes the weighted input $z^{l+1}_k$ of
# **every** neuron $k$ above it, so there is a sum over $k$:
#
# $$\delta^l_j = \frac{\partial C}{\partial z^l_j}
# = \sum_k \frac{\partial C}{\partial z^{l+1}_k} \frac{\partial z^{l+1}_k}{\partial z^l_j}
# = \sum_k \delta^{l+1}_k \frac{\partial z^{l+1}_k}{\partial z^l_j}$$
#
# How does $z^{l+1}_k$ depend on $z^l_j$? Write it out:
#
# $$z^{l+1}_k = \sum_i w^{l+1}_{ki}\, \sigma(z^l_i) + b^{l+1}_k \qquad \Rightarrow \qquad
# \frac{\partial z^{l+1}_k}{\partial z^l_j} = w^{l+1}_{kj}\, \sigma'(z^l_j)$$
#
# Only the term $i = j$ has $z^l_j$ in it. Put it in; $\sigma'(z^l_j)$ does not depend on $k$ and
# comes out of the sum:
#
# $$\delta^l_j = \sigma'(z^l_j) \sum_k w^{l+1}_{kj}\, \delta^{l+1}_k$$
#
# Now the matrices. The summed $k$ is the **first** index of $w$, and in a product of a matrix with
# a vector the last one is summed. So $w$ must be transposed:
#
# $$\delta^l = \left((w^{l+1})^\top \delta^{l+1}\right) \odot \sigma'(z^l)
# = \Sigma'(z^l)\, (w^{l+1})^\top \delta^{l+1}$$
#
# The transposed matrix carries the error backward along the same weights, and $\sigma'$ takes it
# through the activation. Applied twice, it gives every error in the network. In the form with
# $\Sigma'$ all of it is one product of matrices:
#
# $$\delta^1 = \Sigma'(z^1)\, (w^2)^\top\, \Sigma'(z^2)\, (w^3)^\top\, \Sigma'(z^3)\,
# \nabla_a C$$


# %%
def by_index(x, t, w, b):
    """BP1 and BP2 as they stand in index form: a loop for j, a sum over k."""
    a, _ = forward(x, w, b)
    delta = {(3, j): (a[3][j] - t[j]) * a[3][j] * (1 - a[3][j]) for j in range(2)}
    for l in (2, 1):
        for j in range(4):
            total = sum(w[l + 1][k, j] * delta[l + 1, k] for k in range(len(w[l + 1])))
            delta[l, j] = a[l][j] * (1 - a[l][j]) * total
    return {f"δ{l}[{j}]": value for (l, j), value in delta.items()}


def one_product(x, t, w, b):
    """The errors of layer 1 as one product of matrices."""
    a, _ = forward(x, w, b)
    slopes = {l: np.eye(len(b[l])) * (a[l] * (1 - a[l]))[:, None] for l in (1, 2, 3)}  # Σ'
    return slopes[1] @ w[2].T @ slopes[2] @ w[3].T @ slopes[3] @ (a[3] - t)


network = x, t, w, b
flat = {f"δ{l}[{j}]": found[f"δ{l}"][j] for l in (3, 2, 1) for j in range(sizes[l])}
same_all(by_index(*network), flat, gauged(by_index, *network), name="index form, matrix form")
same("one product of matrices", one_product(*network), tz[1].grad, gauged(one_product, *network))

# %%
for l in (2, 1):
    same(f"BP2, layer {l}", found[f"δ{l}"], tz[l].grad, rounding[f"δ{l}"])
table(
    {
        "neuron": [f"layer {l}, neuron {j + 1}" for l in (3, 2, 1) for j in range(sizes[l])],
        "a": np.concatenate([a[l] for l in (3, 2, 1)]),
        "σ'(z)": np.concatenate([a[l] * (1 - a[l]) for l in (3, 2, 1)]),
        "δ by hand": np.concatenate([found[f"δ{l}"] for l in (3, 2, 1)]),
        "δ by autograd": torch.cat([tz[l].grad for l in (3, 2, 1)]).numpy(),
    }
)

# %% [markdown]
# ## BP3 and BP4: from errors to gradients
#
# $w^l_{jk}$ and $b^l_j$ change one weighted input only, their neuron's own
# $z^l_j = \sum_k w^l_{jk}\, a^{l-1}_k + b^l_j$, so there is nothing to sum:
#
# $$\frac{\partial C}{\partial b^l_j} = \delta^l_j \cdot 1, \qquad
# \frac{\partial C}{\partial w^l_{jk}} = \delta^l_j\, a^{l-1}_k$$
#
# A bias adds to $z$ directly, so its gradient is the error itself. A weight multiplies the
# activation below it, so its gradient is (activation in) × (error out). A rule of thumb that
# catches most mistakes: the derivative of a number with respect to a matrix has that matrix's
# shape.

# %%
for l in (1, 2, 3):
    assert found[f"w{l}"].shape == w[l].shape
    assert found[f"b{l}"].shape == b[l].shape
names = [f"{kind}{l}" for l in (1, 2, 3) for kind in "wb"]
autograd = {f"w{l}": tw[l].grad for l in tw} | {f"b{l}": tb[l].grad for l in tb}
same_all({n: found[n] for n in names}, {n: autograd[n] for n in names}, rounding)

# %% [markdown]
# ## They hold for any activation
#
# Nothing in the four equations is special about the sigmoid: put another function and its slope in.
# We take each of `manual`'s element-wise activations, and one network in which every layer has its
# own, and compare with torch's modules of the same name. The output layer is linear in the last
# one.


# %%
def with_activations(x, t, w, b, layers):
    a, back, delta, grads = {0: x}, {}, {}, {}
    for l, layer in enumerate(layers, start=1):
        a[l], back[l] = layer.forward(w[l] @ a[l - 1] + b[l])
    upstream = a[3] - t
    for l in (3, 2, 1):
        (delta[l],), _ = layers[l - 1].backward(upstream, back[l])  # upstream ⊙ f'(z)
        grads[f"w{l}"], grads[f"b{l}"] = delta[l][:, None] * a[l - 1][None, :], delta[l]
        upstream = w[l].T @ delta[l]
    return grads


def by_autograd(x, t, w, b, layers):
    tw, tb = ({l: torch.tensor(p[l], requires_grad=True) for l in p} for p in (w, b))
    a = torch.tensor(x)
    for l, layer in enumerate(layers, start=1):
        a = layer(tw[l] @ a + tb[l])
    (0.5 * (a - torch.tensor(t)).square().sum()).backward()
    return {f"w{l}": tw[l].grad for l in tw} | {f"b{l}": tb[l].grad for l in tb}


one_each = [(name, [name] * 3) for name in ["Sigmoid", "Tanh", "ReLU", "LeakyReLU", "SiLU", "ELU"]]
mixed = ("Tanh, then ELU, then linear", ["Tanh", "ELU", "Identity"])
for label, used in [*one_each, ("linear", ["Identity"] * 3), mixed]:
    ours = [getattr(manual, name)() for name in used]
    theirs = [getattr(torch.nn, name)() for name in used]
    same_all(
        with_activations(x, t, w, b, ours),
        by_autograd(x, t, w, b, theirs),
        gauged(with_activations, x, t, w, b, ours),
        name=label,
    )

# %% [markdown]
# (Their formulas stand in lesson 7. `SiLU` is torch's name of the swish, `Identity` is linear.)
#
# ## The picture: a sum over paths
#
# Nudge one weight by $\Delta w$. The change runs through the network along every path to the cost,
# and each neuron on the way passes on its share:
#
# $$\Delta C \approx \sum_{\text{paths}}
# \left(\text{product of the partial derivatives along the path}\right) \Delta w$$
#
# From $w^1_{jk}$ a path picks a neuron $p$ in layer 2 and $m$ in layer 3, so there are $4 \times
# 2$:
#
# $$\frac{\partial C}{\partial w^1_{jk}} = \sum_{m,p} (a^3_m - t_m)\, \sigma'(z^3_m)\, w^3_{mp}\,
# \sigma'(z^2_p)\, w^2_{pj}\, \sigma'(z^1_j)\, x_k$$


# %%
def along(path, k, x, t, w, b):
    """The product of the derivatives from weight w1[j, k] through neurons j, p and m."""
    a, _ = forward(x, w, b)
    j, p, m = path
    s = {l: a[l] * (1 - a[l]) for l in (1, 2, 3)}
    return (a[3][m] - t[m]) * s[3][m] * w[3][m, p] * s[2][p] * w[2][p, j] * s[1][j] * x[k]


def all_paths(x, t, w, b, j, k):
    return sum(along((j, p, m), k, x, t, w, b) for p, m in product(range(4), range(2)))


paths = list(product(range(4), range(2)))
products = [float(along((0, p, m), 0, x, t, w, b)) for p, m in paths]
table(
    {
        "path from `w1[0, 0]`": [f"x1 → 1 → {p + 1} → {m + 1} → C" for p, m in paths]
        + ["their sum"],
        "product of derivatives": [*products, sum(products)],
    }
)
every = list(product(range(4), range(3)))
same_all(
    {f"w1[{j}, {k}]": all_paths(x, t, w, b, j, k) for j, k in every},
    {f"w1[{j}, {k}]": autograd["w1"][j, k] for j, k in every},
    {f"w1[{j}, {k}]": gauged(all_paths, x, t, w, b, j, k) for j, k in every},
    name="the sum over 8 paths, from each weight of layer 1",
)

nudge, nudged = 1e-6, {**w, 1: w[1].copy()}
nudged[1][0, 0] += nudge
change = 0.5 * np.sum((t - forward(x, nudged, b)[0][3]) ** 2) - E
print(f"ΔC = {change:.6e}, the sum over paths × Δw = {sum(products) * nudge:.6e}")
assert abs(change - sum(products) * nudge) < 1e-3 * abs(change)

# %% [markdown]
# Enumerating paths is hopeless in a real network: with $n$ neurons in each of $L$ layers there are
# $n^{L-1}$ from one weight. The four equations take what paths have in common once: on the way back
# each weight above the first layer is used a single time.

# %%
depths = [2, 4, 8, 16]
table(
    {
        "layers of 10 neurons": depths,
        "paths from one weight": [f"{10 ** (depth - 1):,}" for depth in depths],
        "weights that BP2 uses, once each": [f"{100 * (depth - 1):,}" for depth in depths],
    }
)

# %% [markdown]
# ## When a weight learns slowly
#
# BP4 and BP1 say when: if its **input activation is low**, because $a^{l-1}_k$ is a factor, or if
# its **output neuron is saturated**, because $\sigma'(z^l_j)$ is one. We push each to the extreme,
# and leave the rest as it is.

# %%
inputs = [1.0, 0.1, 0.01, 0.001]
by_input = [
    float(four_equations(np.array([value, 2.0, 3.0]), t, w, b)["w1"][0, 0]) for value in inputs
]
table({"input x1": inputs, "∂C/∂w1[0, 0]": by_input})
assert all(abs(small) < 0.2 * abs(large) for large, small in pairwise(by_input))

shifts = np.linspace(-10, 10, 81)
gradient_at = []
for shift in shifts:
    moved = {**b, 3: b[3] + np.array([shift - z[3][0], 0.0])}  # so that z of output 1 is `shift`
    gradient_at.append(abs(float(four_equations(x, t, w, moved)["w3"][0, 0])))
chosen = [40, 48, 60, 80]
table(
    {
        "z of output 1": shifts[chosen],
        "σ'(z)": sigmoid(shifts[chosen]) * (1 - sigmoid(shifts[chosen])),
        "|∂C/∂w3[0, 0]|": [gradient_at[i] for i in chosen],
    }
)
with figure("A saturated output neuron: the gradient of its weight dies away on both sides",
            xlabel="z of output 1", ylabel="|∂C/∂w|", yscale="log") as axes:  # fmt: skip
    axes.plot(shifts, gradient_at)
assert gradient_at[80] < 1e-3 * gradient_at[40]

# %% [markdown]
# ## Learning
#
# The cost of a batch is the average over its $m$ rows, $C = \frac{1}{2m} \sum_x \|t - a^L\|^2$, so
# its gradient is the average too. These are the two assumptions about a cost: it is an average over
# samples, and a function of the output activations (else BP1 has no $\nabla_a C$ to begin with).
# One step of mini-batch gradient descent is
#
# $$w^l \leftarrow w^l - \frac{\eta}{m} \sum_x \delta^{x,l} (a^{x,l-1})^\top, \qquad
# b^l \leftarrow b^l - \frac{\eta}{m} \sum_x \delta^{x,l}$$


# %%
def step(X, T, w, b, eta):
    m, grads = len(X), [four_equations(x, t, w, b) for x, t in zip(X, T, strict=True)]
    new_w = {l: w[l] - eta / m * sum(g[f"w{l}"] for g in grads) for l in w}
    new_b = {l: b[l] - eta / m * sum(g[f"b{l}"] for g in grads) for l in b}
    return new_w, new_b


def named(w, b):
    """As torch's state_dict names the parameters of Linear, Sigmoid, Linear, Sigmoid, …"""
    return {f"{2 * l - 2}.{kind}": p[l] for l in w for kind, p in (("weight", w), ("bias", b))}


layers = [torch.nn.Linear(m, n) for m, n in pairwise(sizes)]
model = torch.nn.Sequential(*(part for layer in layers for part in (layer, torch.nn.Sigmoid())))
model = model.double()


def torch_steps(batches, w, b, eta):
    model.load_state_dict({name: torch.tensor(p) for name, p in named(w, b).items()})
    descent = torch.optim.SGD(model.parameters(), lr=eta)
    for X, T in batches:
        descent.zero_grad()
        (0.5 * (torch.tensor(T) - model(torch.tensor(X))).square().sum() / len(X)).backward()
        descent.step()
    return {name: p.detach().clone() for name, p in model.named_parameters()}


batch = X, T, w, b, 0.5
same_all(named(*step(*batch)), torch_steps([(X, T)], w, b, 0.5), named(*gauged(step, *batch)))

# %% [markdown]
# The course's learning process takes one row at a time: initialise; for each datapoint go forward,
# backward and update; return the network. That is the same step with $m = 1$. (On digits, in
# mini-batches, with two hidden layers: lesson 17.)


# %%
def learn(X, T, w, b, eta, epochs):
    for _ in range(epochs):
        for n in range(len(X)):
            w, b = step(X[n : n + 1], T[n : n + 1], w, b, eta)
    return w, b


def error(w, b):
    return sum(
        0.5 * float(np.sum((t - forward(x, w, b)[0][3]) ** 2)) for x, t in zip(X, T, strict=True)
    )


one_epoch = X, T, w, b, 0.1, 1
singles = [(X[n : n + 1], T[n : n + 1]) for n in range(3)]
same_all(
    named(*learn(*one_epoch)), torch_steps(singles, w, b, 0.1), named(*gauged(learn, *one_epoch))
)
best = sum(0.5 * float(np.sum((t - 1) ** 2)) for t in T)
after = error(*learn(X, T, w, b, 0.1, 40))
print(f"E of the three rows: {error(w, b):.2f} at first, {after:.2f} after 40 epochs")
print(f"a sigmoid's outputs are below 1, so E stays above {best:.2f}")
assert best < after < error(w, b)

# %% [markdown]
# ## What changed in the code
#
# Before: the students' network, one line for each layer. Now: a loop over layers, for any depth;
# and one row at a time, with the weights as torch stores them.

# %%
code_diff(code_of("08_students", "backward"), four_equations, names=("students", "four equations"))

# %% [markdown]
# ## What torch now does for you
#
# Three times the same four nodes, from the output down. `Mv` is the matrix–vector product: its
# backward is BP4 for the weights and the first half of BP2 for the layer below.

# %%
layer_nodes = [
    ("Sigmoid", "a[l] * (1 - a[l])"),
    ("Add", 'grads[f"b{l}"] = delta[l]'),
    ("AccumulateGrad", 'grads[f"b{l}"]'),
    ("Mv", 'grads[f"w{l}"] = delta[l][:, None] * a[l - 1][None, :]', "w[l + 1].T @ delta[l + 1]"),
    ("AccumulateGrad", 'grads[f"w{l}"]'),
]
grad_fn_table(
    t_loss,
    four_equations,
    [
        ("Mul", "(the ½, which cancels the 2 of the square)"),
        ("Sum", "(every output adds to E: one each)"),
        ("Pow", "(a[3] - t)"),
        ("Sub", "(it is t - a: the sign turns)"),
        *layer_nodes,
        *layer_nodes,
        *layer_nodes[:3],
        ("Mv", 'grads[f"w{l}"] = delta[l][:, None] * a[l - 1][None, :]', "(nothing below)"),
        ("AccumulateGrad", 'grads[f"w{l}"]'),
    ],
    {f"w{l}": tw[l] for l in tw} | {f"b{l}": tb[l] for l in tb},
)

# %% [markdown]
# ## Your turn
#
# **An exercise.** The equation that this lesson derived. (Another one, `bp1`, wants the error at
# the output with the matrix $\Sigma'(z)$.)
#
# ```sh
# handgrad exercise start bp2
# handgrad exercise grade bp2.py
# ```
#
# **On paper.** The shapes of the 3-4-4-2 network, for one row: $w^1$, $w^2$, $w^3$, $\delta^3$,
# $(w^3)^\top \delta^3$, $\partial C / \partial w^2$? And a layer of 4,096 sigmoids: how many
# numbers has its $\Sigma'(z)$, and how many of them are not zero?
#
# <details><summary>Answer</summary>
#
# $4 \times 3$, $4 \times 4$, $2 \times 4$; $\delta^3$ has 2 numbers, $(w^3)^\top \delta^3$ has 4;
# $\partial C/\partial w^2 = \delta^2 (a^1)^\top$ is $4 \times 4$, as $w^2$ is.
#
# $4096^2 = 16{,}777{,}216$ numbers, 4,096 of them not zero: an output depends on its own $z$ alone.
# That is why nobody forms the matrix, and $\odot$ does its work.
#
# </details>
#
# **Find the mistake.** Somebody's `bp2` has this piece of code. Where is the gradient nearly
# right all the same?
#
# ```python
# (delta @ w.T) * a
# ```
#
# <details><summary>Answer</summary>
#
# $\sigma' = a (1 - a)$, and $1 - a$ is missing. Where $a$ is near 0, $1 - a$ is near 1.
#
# </details>
