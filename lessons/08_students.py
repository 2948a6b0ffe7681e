# %% [markdown]
# # 8 · The students' network: loops first, then matrices
#
# Forty students, two numbers each (hours of learning, hours of sleep), and one question: does the
# student pass? We write the 2-4-1 network with a loop for every index, so that nothing is hidden.
# Then we read the matrix form off the sums, and see where each transpose comes from.

# %% tags=["hide-input"]
from itertools import pairwise
from time import perf_counter

import numpy as np
import torch

from compare.description.data.datasets import make
from compare.description.data.scaling import scale
from teach.kit import (
    COLOURS,
    code_diff,
    figure,
    gauged,
    grad_fn_table,
    neurons,
    same,
    same_all,
    table,
)

# %%
neurons([2, 4, 1], "The 2-4-1 network: two facts, four hidden neurons, one chance")
students = make("students", {})
X = scale(students.features, "standard")  # (N, 2): a row is a sample
Y = students.labels[:, None].astype(float)  # (N, 1)
N = len(X)
table(
    {
        "Learn": students.features[:4, 0],
        "Sleep": students.features[:4, 1],
        "Is_Pass": students.labels[:4],
        "x_n0 (scaled)": X[:4, 0],
        "x_n1 (scaled)": X[:4, 1],
    }
)

# %% [markdown]
# ## Forward, with every index
#
# Index $n$ counts samples, $i$ inputs, $h$ hidden units; the single output needs none of its own,
# but we write $o$ so that nothing is special about one output.
#
# $$\begin{aligned}
# Z^1_{nh} &= \sum_i X_{ni} W^1_{ih} + b^1_h, & A^1_{nh} &= \sigma(Z^1_{nh}) \\
# Z^2_{no} &= \sum_h A^1_{nh} W^2_{ho} + b^2_o, & \hat{Y}_{no} &= A^2_{no} = \sigma(Z^2_{no}) \\
# L_n &= -\left(y_n \log \hat{y}_n + (1 - y_n) \log(1 - \hat{y}_n)\right), &
# J &= \frac{1}{N} \sum_n L_n
# \end{aligned}$$

# %%
rng = np.random.default_rng(5)
params = {
    "W1": rng.normal(size=(2, 4)),
    "b1": rng.normal(size=4),
    "W2": rng.normal(size=(4, 1)),
    "b2": rng.normal(size=1),
}


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def forward_loops(X, Y, W1, b1, W2, b2):
    A1, A2, J = np.zeros((N, 4)), np.zeros((N, 1)), 0.0
    for n in range(N):
        for h in range(4):
            z = b1[h]
            for i in range(2):
                z += X[n, i] * W1[i, h]
            A1[n, h] = sigmoid(z)
        for o in range(1):
            z = b2[o]
            for h in range(4):
                z += A1[n, h] * W2[h, o]
            A2[n, o] = sigmoid(z)
            J -= (Y[n, o] * np.log(A2[n, o]) + (1 - Y[n, o]) * np.log(1 - A2[n, o])) / N
    return A1, A2, J


# %% [markdown]
# ## Backward, with every index
#
# Lesson 10 shows why the output error is so simple: sigmoid and cross-entropy together give
# $\partial L_n / \partial Z^2_{no} = \hat{Y}_{no} - Y_{no}$. With $J$ a mean,
# $\delta^2 = (\hat{Y} - Y)/N$. Each other line is the chain rule: *which sums does this number
# appear in?* The weight $W^2_{ho}$ appears once for every sample, so its gradient sums over $n$.
# The activation $A^1_{nh}$ appears once for every output, so its gradient sums over $o$.
#
# $$\begin{aligned}
# \frac{\partial J}{\partial W^2_{ho}} &= \sum_n A^1_{nh}\, \delta^2_{no}, &
# \frac{\partial J}{\partial b^2_o} &= \sum_n \delta^2_{no} \\
# \delta^1_{nh} &= \sigma'(Z^1_{nh}) \sum_o \delta^2_{no} W^2_{ho}, & \sigma' &= A^1 (1 - A^1) \\
# \frac{\partial J}{\partial W^1_{ih}} &= \sum_n X_{ni}\, \delta^1_{nh}, &
# \frac{\partial J}{\partial b^1_h} &= \sum_n \delta^1_{nh}
# \end{aligned}$$


# %%
def backward_loops(X, Y, A1, A2, W2, divisor=N):
    dW1, db1, dW2, db2 = np.zeros((2, 4)), np.zeros(4), np.zeros((4, 1)), np.zeros(1)
    for n in range(N):
        for o in range(1):
            dZ2 = (A2[n, o] - Y[n, o]) / divisor
            db2[o] += dZ2
            for h in range(4):
                dW2[h, o] += A1[n, h] * dZ2
        for h in range(4):
            dA1 = 0.0
            for o in range(1):
                dA1 += (A2[n, o] - Y[n, o]) / divisor * W2[h, o]
            dZ1 = dA1 * A1[n, h] * (1 - A1[n, h])
            db1[h] += dZ1
            for i in range(2):
                dW1[i, h] += X[n, i] * dZ1
    return {"W1": dW1, "b1": db1, "W2": dW2, "b2": db2}


A1, A2, J = forward_loops(X, Y, **params)
by_loops = {"J": J, **backward_loops(X, Y, A1, A2, params["W2"])}
print(f"J = {J:.6f}")

# %% [markdown]
# ## Where the transpose comes from
#
# A matrix product $PQ$ sums the **last** index of $P$ with the **first** index of $Q$:
# $(PQ)_{ab} = \sum_c P_{ac} Q_{cb}$. Now look at the sums above.
#
# - $Z_{nh} = \sum_i X_{ni} W_{ih}$: $i$ is last, then first. It is $X W$ as it stands.
# - $\partial J/\partial W_{ih} = \sum_n X_{ni}\, \delta_{nh}$: the summed $n$ is **first** in
#   $X$. To bring it to the end, transpose: $X^\top \delta$.
# - $\partial J/\partial A_{nh} = \sum_o \delta_{no} W_{ho}$: the summed $o$ is **last** in
#   $W$. To bring it to the front, transpose: $\delta\, W^\top$.
#
# So there is nothing to memorise, and the shapes allow no other order: the derivative of a number
# with respect to a matrix has that matrix's shape. NumPy's `einsum` takes the index form literally.

# %%
delta = (A2 - Y) / N
same("Σ_n A_nh δ_no, and Aᵀ δ", A1.T @ delta, np.einsum("nh,no->ho", A1, delta),
     gauged(lambda a, d: a.T @ d, A1, delta))  # fmt: skip
same("Σ_o δ_no W_ho, and δ Wᵀ", delta @ params["W2"].T, np.einsum("no,ho->nh", delta, params["W2"]))
table(
    {
        "sum": ["`X_ni W_ih`", "`A_nh δ_no`", "`δ_no W_ho`"],
        "summed": ["`i`", "`n`", "`o`"],
        "matrix form": ["`X @ W1`", "`A1.T @ δ`", "`δ @ W2.T`"],
        "shapes": [
            f"{X.shape} {params['W1'].shape} → {(X @ params['W1']).shape}",
            f"{A1.T.shape} {delta.shape} → {(A1.T @ delta).shape}",
            f"{delta.shape} {params['W2'].T.shape} → {(delta @ params['W2'].T).shape}",
        ],
    }
)

# %% [markdown]
# ## The same network in matrices
#
# Undoing a matrix product takes a matrix product; undoing an activation, which works element by
# element, takes an element-wise product $\odot$:
#
# $$\delta^2 = \frac{A^2 - Y}{N}, \quad \delta^1 = (\delta^2 (W^2)^\top) \odot \sigma'(Z^1), \quad
# \frac{\partial J}{\partial W^l} = (A^{l-1})^\top \delta^l, \quad
# \frac{\partial J}{\partial b^l} = \sum_n \delta^l$$


# %%
def forward(X, Y, W1, b1, W2, b2):
    A1 = sigmoid(X @ W1 + b1)  # (N, 4)
    A2 = sigmoid(A1 @ W2 + b2)  # (N, 1)
    J = -(Y * np.log(A2) + (1 - Y) * np.log(1 - A2)).sum() / N
    return A1, A2, J


def backward(X, Y, A1, A2, W2, divisor=N):
    dZ2 = (A2 - Y) / divisor  # (N, 1)
    dW2 = A1.T @ dZ2  # (4, 1)
    db2 = dZ2.sum(axis=0)  # (1,)
    dA1 = dZ2 @ W2.T  # (N, 4)
    dZ1 = dA1 * A1 * (1 - A1)  # (N, 4)
    dW1 = X.T @ dZ1  # (2, 4)
    db1 = dZ1.sum(axis=0)  # (4,)
    return {"W1": dW1, "b1": db1, "W2": dW2, "b2": db2}


def loss_and_gradients(X, Y, params):
    A1, A2, J = forward(X, Y, **params)
    return {"J": J, **backward(X, Y, A1, A2, params["W2"])}


by_matrices = loss_and_gradients(X, Y, params)
rounding = gauged(loss_and_gradients, X, Y, params)
same_all(by_matrices, by_loops, rounding)

# %% [markdown]
# The sums run in another order, so the last digits may differ, and nothing else may: `rounding` is
# the same program run once more on numbers that carry their own rounding error, and each element
# is allowed what that says.
#
# ## How much faster?
#
# The same multiplications, the same sums: what do the loops cost? Guess before you look.


# %%
def seconds(function, *arguments, times=5):
    taken = []
    for _ in range(times):
        begin = perf_counter()
        function(*arguments)
        taken.append(perf_counter() - begin)
    return min(taken)


W2 = params["W2"]
way = {
    "forward": (seconds(lambda: forward_loops(X, Y, **params)),
                seconds(lambda: forward(X, Y, **params))),
    "backward": (seconds(backward_loops, X, Y, A1, A2, W2), seconds(backward, X, Y, A1, A2, W2)),
}  # fmt: skip
table(
    {
        "40 students": list(way),
        "loops, ms": [round(1000 * loops, 3) for loops, _ in way.values()],
        "matrices, ms": [round(1000 * matrices, 3) for _, matrices in way.values()],
        "times faster": [round(loops / matrices) for loops, matrices in way.values()],
    }
)

# %% [markdown]
# In the loops, Python looks at each number by itself. In `X @ W1` it makes one call, and compiled
# code runs through the numbers. The larger the network, the larger the difference.
#
# ## Samples as columns
#
# Many texts store a sample as a **column**: $X$ is $(2, m)$, $Z = W X + b$. These are the six
# formulas in that form; every matrix is the transpose of ours, and so is every gradient.
#
# $$\begin{aligned}
# dZ_2 &= A_2 - Y, & dW_2 &= \tfrac{1}{m}\, dZ_2 A_1^\top, & db_2 &= \tfrac{1}{m} \sum dZ_2 \\
# dZ_1 &= W_2^\top dZ_2 \odot g'(Z_1), & dW_1 &= \tfrac{1}{m}\, dZ_1 X^\top, &
# db_1 &= \tfrac{1}{m} \sum dZ_1
# \end{aligned}$$


# %%
def six_formulas(X, Y, W1, b1, W2, b2):
    m = X.shape[1]
    A1 = sigmoid(W1 @ X + b1)  # (4, m)
    A2 = sigmoid(W2 @ A1 + b2)  # (1, m)
    dZ2 = A2 - Y
    dW2 = dZ2 @ A1.T / m
    db2 = dZ2.sum(axis=1, keepdims=True) / m
    dZ1 = (W2.T @ dZ2) * A1 * (1 - A1)
    dW1 = dZ1 @ X.T / m
    db1 = dZ1.sum(axis=1, keepdims=True) / m
    return {"W1": dW1, "b1": db1, "W2": dW2, "b2": db2}


def turned(p):
    return p[:, None] if p.ndim == 1 else p.T  # a bias becomes a column


by_columns = six_formulas(X.T, Y.T, **{name: turned(p) for name, p in params.items()})
same_all(
    {name: turned(by_matrices[name]) for name in by_columns},
    by_columns,
    {name: turned(rounding[name]) for name in by_columns},
)

# %% [markdown]
# ## Sum or mean?
#
# Some texts update with $\delta = \hat{Y} - Y$, $W \leftarrow W - \alpha A^\top \delta$ and
# $b \leftarrow b - \alpha \sum_n \delta$: a **sum** over the batch. Others, like ours, take the
# mean. The direction is the same; the sum is $N$ times as long. So a learning rate goes with a
# convention: $\alpha$ for the sum is $N \alpha$ for the mean. (The losses of `manual` and torch
# have a switch, `reduction`: lesson 10.)


# %%
def step(params, gradients, lr):
    return {name: params[name] - lr * gradients[name] for name in params}


def step_with_the_sum(X, Y, params, alpha):
    A1, A2, _ = forward(X, Y, **params)
    return step(params, backward(X, Y, A1, A2, params["W2"], divisor=1), alpha)  # δ = Ŷ - Y


alpha = 0.02
same_all(
    step_with_the_sum(X, Y, params, alpha),
    step(params, by_matrices, N * alpha),
    gauged(step_with_the_sum, X, Y, params, alpha),
)

# %% [markdown]
# ## Train until the error is small enough, then predict
#
# An epoch is one pass over the data. We stop when the error is below a limit.

# %%
trained, losses, states = params, [], []
while not losses or losses[-1] > 0.2:
    states.append(trained)
    gradients = loss_and_gradients(X, Y, trained)
    losses.append(float(gradients["J"]))
    trained = step(trained, gradients, lr=2.0)

with figure(f"The loss falls below 0.2 after {len(losses)} epochs", steps=True, xlabel="epoch",
            ylabel="J") as axes:  # fmt: skip
    axes.plot(losses)

# %% [markdown]
# What has it learnt? Ask it about every pair of hours, and draw the line where it says one half:
# the **decision boundary**. On one side it says "pass". Here is the line at four moments.

# %% tags=["hide-input"]
centre, width = students.features.mean(axis=0), students.features.std(axis=0)
low, high = students.features.min(axis=0) - 0.5, students.features.max(axis=0) + 0.5
Learn, Sleep = np.meshgrid(np.linspace(low[0], high[0], 80), np.linspace(low[1], high[1], 80))
grid = (np.c_[Learn.ravel(), Sleep.ravel()] - centre) / width
moments = [len(states) // 50, len(states) // 8, len(states) // 3, len(states) - 1]
with figure(f"The boundary after {', '.join(map(str, moments))} epochs, from faint to strong",
            xlabel="Learn", ylabel="Sleep") as axes:  # fmt: skip
    for label, colour in ((0, "s2"), (1, "s3")):
        here = students.features[students.labels == label]
        marker = "ox"[label]
        axes.plot(*here.T, marker, color=COLOURS[colour], label=("failed", "passed")[label])
    for moment, colour in zip(moments, ("d0", "d2", "d4", "d6"), strict=True):
        says = forward(grid, np.ones((len(grid), 1)), **states[moment])[1].reshape(Learn.shape)
        axes.contour(Learn, Sleep, says, levels=[0.5], colors=COLOURS[colour])

# %% [markdown]
# And it has something to say about students whom it has never seen:

# %%
new = np.array([[7.0, 8.0], [2.0, 6.0], [5.0, 7.0]])  # Learn, Sleep
_, chance, _ = forward((new - centre) / width, np.ones((3, 1)), **trained)
table({"Learn": new[:, 0], "Sleep": new[:, 1], "chance of passing": chance[:, 0]})
right = int(((forward(X, Y, **trained)[1] > 0.5) == Y).sum())
print(f"{right} of {N} students are on the right side of one half")
assert chance[0, 0] > 0.5 > chance[1, 0]

# %% [markdown]
# ## Any depth
#
# Nothing above depends on there being two layers. Going backward, each layer takes
# $\partial J/\partial A^i$ from above and hands $\partial J/\partial A^{i-1}$ down, with
# $A^0 = X$:
#
# $$\begin{aligned}
# \frac{\partial J}{\partial Z^i} &= \frac{\partial J}{\partial A^i} \odot
# \frac{\partial A^i}{\partial Z^i}, &
# \frac{\partial J}{\partial W^i} &= (A^{i-1})^\top \frac{\partial J}{\partial Z^i}, \\
# \frac{\partial J}{\partial b^i} &= \sum_n \frac{\partial J}{\partial Z^i}, &
# \frac{\partial J}{\partial A^{i-1}} &= \frac{\partial J}{\partial Z^i} (W^i)^\top
# \end{aligned}$$
#
# The loss starts it. For the cross-entropy it is $\frac{1}{N} (A - Y)/(A(1 - A))$, for the
# squared error $\frac{2}{N} (A - Y)$. Each network of the course is checked against torch, with
# both losses. (Convolutional and recurrent networks share one weight among many places or times. It
# then appears in more sums, so its gradient has more terms: lesson 4.)


# %%
def any_depth(X, Y, weights, biases, loss):
    A = [X]
    for W, b in zip(weights, biases, strict=True):
        A.append(sigmoid(A[-1] @ W + b))
    bce = (A[-1] - Y) / (A[-1] * (1 - A[-1])) / N
    dA = bce if loss == "BCE" else 2 * (A[-1] - Y) / N
    gradients = {}
    for i in range(len(weights), 0, -1):
        dZ = dA * A[i] * (1 - A[i])
        gradients[f"W{i}"] = A[i - 1].T @ dZ
        gradients[f"b{i}"] = dZ.sum(axis=0)
        dA = dZ @ weights[i - 1].T
    return gradients


def by_autograd(X, Y, weights, biases, loss):
    Ws, bs = ([torch.tensor(p, requires_grad=True) for p in some] for some in (weights, biases))
    A = torch.tensor(X)
    for W, b in zip(Ws, bs, strict=True):
        A = torch.sigmoid(A @ W + b)
    losses = {"BCE": torch.nn.BCELoss(), "MSE": torch.nn.MSELoss()}
    losses[loss](A, torch.tensor(Y)).backward()
    pairs = reversed(list(enumerate(zip(Ws, bs, strict=True), start=1)))
    return {f"{n}{i}": p.grad for i, Wb in pairs for n, p in zip("Wb", Wb, strict=True)}


for widths in [(2, 4, 1), (2, 2, 1), (2, 3, 4, 1), (2, 4, 5, 1)]:
    neurons(widths, "-".join(map(str, widths)))
    weights = [rng.normal(size=s) for s in pairwise(widths)]
    biases = [rng.normal(size=n) for n in widths[1:]]
    for loss in ("BCE", "MSE"):
        network = X, Y, weights, biases, loss
        sides = any_depth(*network), by_autograd(*network), gauged(any_depth, *network)
        same_all(*sides, name=f"{'-'.join(map(str, widths))} {loss}")

# %% [markdown]
# ## What changed in the code
#
# From loops to matrices: the network is the same, and its loops are gone.

# %%
code_diff([forward_loops, backward_loops], [forward, backward], names=("loops", "matrices"))

# %% [markdown]
# ## What torch now does for you
#
# Only the forward pass is written. Autograd records one `grad_fn` for each operation, and
# `backward()` visits them in the order shown. Beside each stands our line.

# %%
leaves = {name: torch.tensor(p, requires_grad=True) for name, p in params.items()}
t_A1 = torch.sigmoid(torch.tensor(X) @ leaves["W1"] + leaves["b1"])
t_A2 = torch.sigmoid(t_A1 @ leaves["W2"] + leaves["b2"])
t_J = torch.nn.functional.binary_cross_entropy(t_A2, torch.tensor(Y))
grad_fn_table(
    t_J,
    backward,
    [
        ("BinaryCrossEntropy", "dZ2 = (A2 - Y) / divisor"),
        ("Sigmoid", "(in the line above: the two cancel, lesson 10)"),
        ("Add", "db2 = dZ2.sum(axis=0)"),
        ("AccumulateGrad", '"b2": db2'),
        ("Mm", "dW2 = A1.T @ dZ2", "dA1 = dZ2 @ W2.T"),
        ("AccumulateGrad", '"W2": dW2'),
        ("Sigmoid", "dZ1 = dA1 * A1 * (1 - A1)"),
        ("Add", "db1 = dZ1.sum(axis=0)"),
        ("AccumulateGrad", '"b1": db1'),
        ("Mm", "dW1 = X.T @ dZ1", "(and no dX: the data need no gradient)"),
        ("AccumulateGrad", '"W1": dW1'),
    ],
    leaves,
)

t_J.backward()
same_all(by_matrices, {"J": t_J, **{name: leaf.grad for name, leaf in leaves.items()}}, rounding)
print(f"{len(params)} gradients, and no backward pass was written")

# %% [markdown]
# ## Your turn
#
# **An exercise.** Two layers, in matrices.
#
# ```sh
# handgrad exercise start two_layer
# handgrad exercise grade two_layer.py
# ```
#
# **On paper.** A 2-4-1 network and 40 students: write down the shapes of $Z^1$, $W^2$, $\delta^2$
# and $\partial J / \partial W^1$.
#
# <details><summary>Answer</summary>
#
# $(40, 4)$, $(4, 1)$, $(40, 1)$ and $(2, 4)$, which is $X^\top \delta^1$: $(2, 40)$ times $(40,
# 4)$.
#
# </details>
#
# **Find the mistake.** Somebody's `two_layer` has this piece of code. Every other gradient is
# right. What was forgotten?
#
# ```python
# db1 = da.sum(axis=0)
# ```
#
# <details><summary>Answer</summary>
#
# `da` is the gradient of the activation; the bias stands before it. The slope (here the ReLU's
# mask) is missing.
#
# </details>
