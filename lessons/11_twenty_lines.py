# %% [markdown]
# # 11 · A network in 20 lines, and one for digits
#
# A whole network, forward, backward and training, fits into twenty lines. We write two famous ones,
# each line of the backward pass undoing one line of the forward pass, beside autograd and beside
# this project's preset of the same name. Then the same two lines repeat for any number of layers.

# %% tags=["hide-input"]
from itertools import pairwise
from time import perf_counter

import numpy as np
import torch

import compare
import manual
from compare.description.config import load
from compare.running.experiment import prepare
from teach.kit import (
    code_diff,
    gauged,
    grad_fn_table,
    gradients,
    neurons,
    same,
    same_all,
    table,
)

# %%
presets = {
    name: prepare(load(name, {})) for name in ("twenty-lines", "softmax-two-layer")
}  # their data, and the weights that both sides start from


def leaves_of(**arrays):
    return {name: torch.tensor(a, requires_grad=True) for name, a in arrays.items()}


def gradients_of(loss, leaves):
    loss.backward()
    return {"loss": loss, **{name: leaf.grad for name, leaf in leaves.items()}}


# %% [markdown]
# ## The 20-line network
#
# $N = 64$ rows, 1000 inputs, 100 sigmoid units, 10 outputs, no biases, standard-normal data and
# weights, and a squared error that is **summed**. Each line of the backward pass undoes one line of
# the forward pass, last one first:
#
# $$\begin{aligned}
# q &= x W_1, & h &= \sigma(q), & \hat{y} &= h W_2, & L &= \sum (\hat{y} - y)^2 \\
# d\hat{y} &= 2 (\hat{y} - y), & dW_2 &= h^\top d\hat{y}, & dh &= d\hat{y}\, W_2^\top \\
# dq &= dh \odot h \odot (1 - h), & dW_1 &= x^\top dq, & dx &= dq\, W_1^\top
# \end{aligned}$$

# %% tags=["hide-input"]
neurons([1000, 100, 10], "1000-100-10, without biases", ["sigmoid", "linear"])


# %%
def twenty_lines(x, y, W1, W2):
    q = x @ W1  # (N, H)
    h = 1 / (1 + np.exp(-q))  # (N, H)
    y_hat = h @ W2  # (N, D_out)
    loss = ((y_hat - y) ** 2).sum()
    dy_hat = 2 * (y_hat - y)  # (N, D_out)
    dW2 = h.T @ dy_hat  # (H, D_out)
    dh = dy_hat @ W2.T  # (N, H)
    dq = dh * h * (1 - h)  # (N, H)
    dW1 = x.T @ dq  # (D_in, H)
    dx = dq @ W1.T  # (N, D_in)
    return {"loss": loss, "x": dx, "W1": dW1, "W2": dW2}


preset = presets["twenty-lines"]
x, y = preset.features, preset.targets
W1, W2 = preset.weights["0.weight"].T, preset.weights["2.weight"].T  # torch stores (out, in)
assert (x.shape, W1.shape, W2.shape, y.shape) == ((64, 1000), (1000, 100), (100, 10), (64, 10))
assert all(abs(a.mean()) < 0.1 and abs(a.std() - 1) < 0.05 for a in (x, W1, W2, y))
print(f"x {x.shape}, W1 {W1.shape}, W2 {W2.shape}, y {y.shape}")

by_hand = twenty_lines(x, y, W1, W2)
twenty_rounding = gauged(twenty_lines, x, y, W1, W2)
leaves = leaves_of(x=x, W1=W1, W2=W2)
twenty_loss = ((torch.sigmoid(leaves["x"] @ leaves["W1"]) @ leaves["W2"] - torch.tensor(y))
               .square().sum())  # fmt: skip
twenty_leaves = leaves
same_all(by_hand, gradients_of(twenty_loss, leaves), twenty_rounding)

# %% [markdown]
# The third part is the optimiser: plain gradient descent with $\eta = 10^{-4}$, 2,000 steps. We
# take 200, and measure how long all of them would take. The preset does all 2,000 in lockstep with
# torch: `handgrad run twenty-lines`.


# %%
assert (preset.config.train.steps, preset.config.optimizer.args) == (2000, {"lr": 1e-4})


def descend(x, y, W1, W2, steps, lr=1e-4):
    losses = []
    for _ in range(steps):
        g = twenty_lines(x, y, W1, W2)
        losses.append(g["loss"])
        W1, W2 = W1 - lr * g["W1"], W2 - lr * g["W2"]
    return W1, W2, losses


def descend_with_torch(x, y, W1, W2, steps, lr=1e-4):
    x, y = torch.tensor(x), torch.tensor(y)
    w = leaves_of(W1=W1, W2=W2)
    descent = torch.optim.SGD(w.values(), lr=lr)
    for _ in range(steps):
        descent.zero_grad()
        (torch.sigmoid(x @ w["W1"]) @ w["W2"] - y).square().sum().backward()
        descent.step()
    return w["W1"], w["W2"]


three = [dict(zip(("W1", "W2"), run, strict=False))
         for run in (descend(x, y, W1, W2, 3), descend_with_torch(x, y, W1, W2, 3),
                     gauged(descend, x, y, W1, W2, 3))]  # fmt: skip
same_all(*three, name="weights after 3 steps, by hand and by torch.optim.SGD")

started = perf_counter()
_, _, losses = descend(x, y, W1, W2, 200)
seconds = perf_counter() - started
print(f"200 steps: {seconds:.2f} s here, so 2,000 take about {10 * seconds:.1f} s")
shown = [0, 5, 20, 50, 100, 199]
table({"step": shown, "loss": [float(losses[step]) for step in shown]})
assert losses[-1] < losses[0] / 10

# %% [markdown]
# ## The softmax network without biases
#
# $h_\theta(X) = \sigma(X W_1) W_2$, with the softmax cross-entropy averaged over the $m$ rows of a
# minibatch. $Z_1 = \sigma(X W_1)$ is the hidden layer, $I_y$ holds a one for each row's class,
# and lesson 10 gives the error at the scores. With ReLU:
#
# $$\begin{aligned}
# S &= \operatorname{softmax}(Z_1 W_2), & G_2 &= S - I_y, &
# \nabla_{W_2} &= \tfrac{1}{m} Z_1^\top G_2 \\
# & & G_1 &= \mathbf{1}\{Z_1 > 0\} \odot (G_2 W_2^\top), &
# \nabla_{W_1} &= \tfrac{1}{m} X^\top G_1
# \end{aligned}$$


# %%
def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def softmax_network(X, Iy, W1, W2):
    m = len(X)
    Z1 = np.maximum(X @ W1, 0)  # (m, H)
    S = softmax(Z1 @ W2)  # (m, K)
    loss = -(Iy * np.log(S)).sum() / m
    G2 = S - Iy  # (m, K)
    dW2 = Z1.T @ G2 / m  # (H, K)
    G1 = (Z1 > 0) * (G2 @ W2.T)  # (m, H)
    dW1 = X.T @ G1 / m  # (D, H)
    return {"loss": loss, "W1": dW1, "W2": dW2}


preset = presets["softmax-two-layer"]
first = next(preset.batches())  # the preset's first minibatch, 100 digits
X, labels = preset.rows(first)
Iy = np.eye(10)[labels]
V1, V2 = preset.weights["hidden.weight"].T, preset.weights["scores.weight"].T

found = softmax_network(X, Iy, V1, V2)
two_layer_rounding = gauged(softmax_network, X, Iy, V1, V2)
leaves = leaves_of(W1=V1, W2=V2)
hidden = torch.relu(torch.tensor(X) @ leaves["W1"])
softmax_loss = torch.nn.functional.cross_entropy(hidden @ leaves["W2"], torch.tensor(labels))
softmax_leaves = leaves
same_all(found, gradients_of(softmax_loss, leaves), two_layer_rounding)

# %% [markdown]
# ## Any number of layers
#
# With $Z_1 = X$ and $Z_{i+1} = \sigma_i(Z_i W_i)$ for $i = 1, \dots, L$ the same two lines repeat.
# $G$ starts as $(S - I_y)/m$, and each layer takes $G_{i+1}$ and hands $G_i$ down:
#
# $$\nabla_{W_i} = Z_i^\top \left(G_{i+1} \odot \sigma_i'(Z_i W_i)\right), \qquad
# G_i = \left(G_{i+1} \odot \sigma_i'(Z_i W_i)\right) W_i^\top$$
#
# The last $\sigma_L$ is the identity. Here are ReLU and sigmoid networks of two and four layers.


# %%
SIGMAS = {
    "relu": (lambda z: np.maximum(z, 0), lambda a: a > 0, torch.relu),
    "sigmoid": (lambda z: 1 / (1 + np.exp(-z)), lambda a: a * (1 - a), torch.sigmoid),
}


def any_depth(X, Iy, weights, sigma):
    f, slope, _ = SIGMAS[sigma]
    Z = [X]
    for W in weights[:-1]:
        Z.append(f(Z[-1] @ W))
    S = softmax(Z[-1] @ weights[-1])
    G, gradient = (S - Iy) / len(X), {"loss": -(Iy * np.log(S)).sum() / len(X)}
    for i in range(len(weights), 0, -1):
        gradient[f"W{i}"] = Z[i - 1].T @ G
        if i > 1:
            G = (G @ weights[i - 1].T) * slope(Z[i - 1])
    return gradient


def any_depth_by_autograd(X, labels, weights, sigma):
    leaves = leaves_of(**{f"W{i}": W for i, W in reversed(list(enumerate(weights, start=1)))})
    A = torch.tensor(X)
    for i in range(1, len(weights)):
        A = SIGMAS[sigma][2](A @ leaves[f"W{i}"])
    scores = A @ leaves[f"W{len(weights)}"]
    return gradients_of(torch.nn.functional.cross_entropy(scores, torch.tensor(labels)), leaves)


rng = np.random.default_rng(8)
for widths in [(64, 50, 10), (64, 30, 20, 15, 10)]:
    weights = [rng.normal(0, (2 / i) ** 0.5, size=(i, o)) for i, o in pairwise(widths)]
    for sigma in SIGMAS:
        same_all(
            any_depth(X, Iy, weights, sigma),
            any_depth_by_autograd(X, labels, weights, sigma),
            gauged(any_depth, X, Iy, weights, sigma),
            name=f"{'-'.join(map(str, widths))}, {sigma}",
        )

# %% [markdown]
# With **biases** (the usual form of this exercise in courses) each layer gains one line, the sum of
# its error over the rows. We leave that to `manual`'s `Linear`, and ask torch again.

# %%
biased = manual.Sequential(manual.Linear(64, 50), manual.ReLU(), manual.Linear(50, 10))
drawn = {name: rng.normal(0, 0.2, size=p.shape) for name, p in biased.params.items()}
task = biased, manual.CrossEntropyLoss(), drawn, X, labels
nn = torch.nn
twin = nn.Sequential(nn.Linear(64, 50), nn.ReLU(), nn.Linear(50, 10)).double()
twin.load_state_dict({name: torch.tensor(p) for name, p in drawn.items()})
twin_loss = nn.CrossEntropyLoss()(twin(torch.tensor(X)), torch.tensor(labels))
by_twin = gradients_of(twin_loss, dict(twin.named_parameters()))
same_all(gradients(*task), by_twin, gauged(gradients, *task))

# %% [markdown]
# ## Beside the presets
#
# The presets are the same two networks, built from `manual`'s layers. Our own gradients must be
# theirs, and theirs are compared with torch's by the harness, tensor by tensor.


# %%
def by_preset(name, X, y):
    side = presets[name].manual
    return gradients(side.graph, side.loss, presets[name].weights, X, y)


twenty = by_preset("twenty-lines", x, y)
two_layer = by_preset("softmax-two-layer", X, labels)
same("twenty-lines, W1", by_hand["W1"], twenty["0.weight"].T, twenty_rounding["W1"])
same("twenty-lines, W2", by_hand["W2"], twenty["2.weight"].T, twenty_rounding["W2"])
same("softmax-two-layer, W1", found["W1"], two_layer["hidden.weight"].T, two_layer_rounding["W1"])
same("softmax-two-layer, W2", found["W2"], two_layer["scores.weight"].T, two_layer_rounding["W2"])

reports = {name: compare.run(name, steps=1) for name in presets}
table(
    {
        "preset": [f"`{name}`" for name in reports],
        "tensors compared": [len(r.differences) for r in reports.values()],
        "verdict": [r.verdict for r in reports.values()],
        "most of a tolerance used": [
            f"{100 * r.differences['budget_used'].max():.2g} %" for r in reports.values()
        ],
    }
)
assert all(report.agrees for report in reports.values())

# %% [markdown]
# ## What changed in the code
#
# From the 20 lines to the digits: another activation, another loss, and a mean for the sum. The
# chain of matrix products is the same.

# %%
code_diff(twenty_lines, softmax_network, names=("20 lines", "digits"))

# %% [markdown]
# ## What torch now does for you
#
# For each network, the nodes that `loss.backward()` visits, and our line beside each.

# %%
grad_fn_table(
    twenty_loss,
    twenty_lines,
    [
        ("Sum", "(every element adds to the loss: one each)"),
        ("Pow", "dy_hat = 2 * (y_hat - y)"),
        ("Sub", "(passes it on to y_hat)"),
        ("Mm", "dW2 = h.T @ dy_hat", "dh = dy_hat @ W2.T"),
        ("AccumulateGrad", '"W2": dW2'),
        ("Sigmoid", "dq = dh * h * (1 - h)"),
        ("Mm", "dW1 = x.T @ dq", "dx = dq @ W1.T"),
        ("AccumulateGrad", '"x": dx'),
        ("AccumulateGrad", '"W1": dW1'),
    ],
    twenty_leaves,
)
grad_fn_table(
    softmax_loss,
    softmax_network,
    [
        ("NllLoss", "(picks the true class's log; the 1/m)"),
        ("LogSoftmax", "G2 = S - Iy"),
        ("Mm", "dW2 = Z1.T @ G2 / m", "G2 @ W2.T"),
        ("AccumulateGrad", '"W2": dW2'),
        ("Relu", "G1 = (Z1 > 0) * (G2 @ W2.T)"),
        ("Mm", "dW1 = X.T @ G1 / m"),
        ("AccumulateGrad", '"W1": dW1'),
    ],
    softmax_leaves,
)

# %% [markdown]
# ## Your turn
#
# **An exercise.** The last layer of the digits' network.
#
# ```sh
# handgrad exercise start softmax_cross_entropy
# handgrad exercise grade softmax_cross_entropy.py
# ```
#
# **On paper.** `twenty_lines` has $D = 1000$, $H = 100$, $D_{out} = 10$. How many weights, and
# how many numbers does `dh` have for 64 rows?
#
# <details><summary>Answer</summary>
#
# $1000 \cdot 100 + 100 \cdot 10 = 101{,}000$ weights; `dh` has $64 \cdot 100 = 6400$.
#
# </details>
#
# **Find the mistake.** Somebody's `softmax_cross_entropy` has this piece of code. It passes with
# three classes. With ten?
#
# ```python
# dx = dx - np.eye(3)[y]
# ```
#
# <details><summary>Answer</summary>
#
# A size is written into the code: it raises, or subtracts elsewhere. The grader tries other
# sizes.
#
# </details>
