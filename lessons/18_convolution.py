# %% [markdown]
# # 18 · Convolution: one small kernel, many places
#
# A picture of a three is a three wherever it stands. So a layer for pictures looks at each place
# with the *same* few weights. Its backward pass needs nothing new: a weight that is used at many
# places gets the sum of what comes back from all of them.

# %% tags=["hide-input"]
from time import perf_counter

import numpy as np
import torch

import manual
from compare.description.data.datasets import make
from teach.kit import (
    COLOURS,
    code_diff,
    figure,
    gauged,
    grad_fn_table,
    gradients,
    same,
    same_all,
    torch_gradients,
)

# %% [markdown]
# ## By hand
#
# A picture $x$ of $3 \times 3$ pixels and a kernel $W$ of $2 \times 2$ weights. Lay the kernel on a
# corner, multiply what lies on each other, add: that is one output. Move on by one pixel: the next.
#
# $$y_{uv} = \sum_{a,b} x_{u+a,\,v+b}\, W_{ab}$$
#
# $$x = \begin{bmatrix} 1 & 2 & 0 \\ 0 & 1 & 3 \\ 2 & 0 & 1 \end{bmatrix}, \quad
# W = \begin{bmatrix} 1 & -1 \\ 2 & 0 \end{bmatrix}, \quad
# y_{00} = 1 \cdot 1 + 2 \cdot (-1) + 0 \cdot 2 + 1 \cdot 0 = -1$$
#
# Find $y_{01}$, $y_{10}$ and $y_{11}$ yourself before you look.


# %%
def forward_loops(x, W):
    K, L = W.shape
    y = np.zeros((x.shape[0] - K + 1, x.shape[1] - L + 1))
    for u, v in np.ndindex(y.shape):
        for a, b in np.ndindex(W.shape):
            y[u, v] += x[u + a, v + b] * W[a, b]
    return y


x = np.array([[1.0, 2.0, 0.0], [0.0, 1.0, 3.0], [2.0, 0.0, 1.0]])
W = np.array([[1.0, -1.0], [2.0, 0.0]])
y = forward_loops(x, W)
same("y", y, np.array([[-1.0, 4.0], [3.0, -2.0]]))

# %% [markdown]
# ## Backward, index by index
#
# *Which outputs does the weight $W_{ab}$ change?* **All** of them: $\partial y_{uv} / \partial
# W_{ab} = x_{u+a,\,v+b}$. So its gradient is a sum over all places (lesson 4).
#
# *Which outputs does the pixel $x_{pq}$ change?* Those where the kernel lies on it: $u + a = p$ and
# $v + b = q$ for some $a$ and $b$, so $u = p - a$ and $v = q - b$.
#
# $$\frac{\partial L}{\partial W_{ab}} = \sum_{u,v} \frac{\partial L}{\partial y_{uv}}\,
# x_{u+a,\,v+b}, \qquad
# \frac{\partial L}{\partial x_{pq}} = \sum_{a,b} \frac{\partial L}{\partial y_{p-a,\,q-b}}\,
# W_{ab}$$
#
# The first is again a convolution, of $x$ with $dy$. In the second the kernel goes backward: it is
# **turned by 180°**, and $dy$ has a border of zeros. In the loop nothing of that is to be seen:
# each product hands its share to both of its factors.


# %%
def backward_loops(x, W, dy):
    dx, dW = np.zeros_like(x), np.zeros_like(W)
    for u, v in np.ndindex(dy.shape):
        for a, b in np.ndindex(W.shape):
            dW[a, b] += dy[u, v] * x[u + a, v + b]
            dx[u + a, v + b] += dy[u, v] * W[a, b]
    return {"x": dx, "W": dW}


def turned(dy, W):
    """dx as a convolution: a border of zeros around dy, and the kernel turned by 180°."""
    border = np.pad(dy, [(k - 1, k - 1) for k in W.shape])
    return forward_loops(border, W[::-1, ::-1])


dy = np.array([[1.0, 0.0], [0.0, 1.0]])
by_loops = backward_loops(x, W, dy)
same("dW = dy_00 · corner at 0, 0 + dy_11 · corner at 1, 1", by_loops["W"], x[:2, :2] + x[1:, 1:])
same("dx, with the kernel turned", by_loops["x"], turned(dy, W))
t_x, t_W = (torch.tensor(a[None, None], requires_grad=True) for a in (x, W))
t_y = torch.nn.functional.conv2d(t_x, t_W)
t_y.backward(torch.tensor(dy[None, None]))
same_all(by_loops, {"x": t_x.grad[0, 0], "W": t_W.grad[0, 0]})

# %% [markdown]
# ## The matrix that it is, and that nobody forms
#
# Each output is a sum of products of pixels and weights, so a convolution is a linear layer with a
# special matrix. Which entries are not zero? Each row holds the same few weights, a place further.

# %%
kernel, side = np.arange(1.0, 10.0).reshape(3, 3), 8
rows = [forward_loops(e.reshape(side, side), kernel).ravel() for e in np.eye(side * side)]
matrix = np.stack(rows, axis=1)  # (36 outputs, 64 pixels)
with figure("The Jacobian of a 3 × 3 kernel on 8 × 8 pixels: 36 × 64 entries, few not zero",
            xlabel="pixel", ylabel="output", ylim=(36, -1)) as axes:  # fmt: skip
    axes.plot(*np.nonzero(matrix)[::-1], "s", markersize=2.6, color=COLOURS["s1"])
picture = np.random.default_rng(18).normal(size=(side, side))


def by_matrix(picture):
    return (matrix @ picture.ravel()).reshape(6, 6)


same("matrix times picture", by_matrix(picture), forward_loops(picture, kernel),
     gauged(by_matrix, picture))  # fmt: skip
filled = np.count_nonzero(matrix)
print(f"{matrix.size:,} entries, {filled} not zero, {len(np.unique(matrix)) - 1} different weights")
assert (filled, len(np.unique(matrix))) == (36 * 9, 10)

# %% [markdown]
# A fully connected layer would learn 2,304 weights here. The convolution learns 9: those are the
# two ideas of a convolutional network, **near pixels only** and **the same weights everywhere**.
#
# ## Samples, channels, and no loops
#
# A real layer has $N$ pictures of $C$ channels (red, green, blue), and $O$ kernels, each with a
# $K \times K$ square for every channel, and a bias: $y_{nouv} = b_o + \sum_{c,a,b}
# x_{nc,u+a,v+b} W_{ocab}$. What is summed in each gradient? All that the number does not have:
#
# $$dW_{ocab} = \sum_{n,u,v} dy_{nouv}\, x_{nc,u+a,v+b}, \qquad
# dx_{ncpq} = \sum_{o,a,b} dy_{no,p-a,q-b}\, W_{ocab}, \qquad db_o = \sum_{n,u,v} dy_{nouv}$$


# %%
def windows(x, K):
    return np.lib.stride_tricks.sliding_window_view(x, (K, K), axis=(2, 3))  # (N, C, U, V, K, K)


def conv_backward(x, W, dy):
    K = W.shape[2]
    dW = np.einsum("nouv,ncuvab->ocab", dy, windows(x, K))
    border = np.pad(dy, [(0, 0), (0, 0), (K - 1, K - 1), (K - 1, K - 1)])
    dx = np.einsum("nopqab,ocab->ncpq", windows(border, K), W[:, :, ::-1, ::-1])
    return {"x": dx, "weight": dW, "bias": dy.sum(axis=(0, 2, 3))}


def by_layer(x, weight, bias, dy):
    layer = manual.Conv2d(3, 4, 3).with_params({"weight": weight, "bias": bias})
    _, cache = layer.forward(x)
    (dx,), own = layer.backward(dy, cache)
    return {"x": dx, **own}


rng = np.random.default_rng(18)
X, weight, bias = rng.normal(size=(5, 3, 8, 8)), rng.normal(size=(4, 3, 3, 3)), rng.normal(size=4)
dY = rng.normal(size=(5, 4, 6, 6))
found, rounding = by_layer(X, weight, bias, dY), gauged(by_layer, X, weight, bias, dY)
same_all(found, conv_backward(X, weight, dY), rounding, name="manual.Conv2d, the index form")
leaves = {n: torch.tensor(a, requires_grad=True)
          for n, a in (("x", X), ("weight", weight), ("bias", bias))}  # fmt: skip
torch.nn.functional.conv2d(*leaves.values()).backward(torch.tensor(dY))
same_all(found, {n: leaf.grad for n, leaf in leaves.items()}, rounding)

begin = perf_counter()
for n, o in np.ndindex(5, 4):
    for c in range(3):
        backward_loops(X[n, c], weight[o, c], dY[n, o])
loops = perf_counter() - begin
begin = perf_counter()
by_layer(X, weight, bias, dY)
print(f"loops {1000 * loops:.0f} ms, manual.Conv2d {1000 * (perf_counter() - begin):.2f} ms")

# %% [markdown]
# ## Pooling: the max gate again
#
# Max-pooling keeps the largest of each $2 \times 2$ square. It has no weights. Backward it is the
# max gate of lesson 3: the gradient goes to the pixel that won, the others get nothing.

# %%
square = np.array([[[[1.0, 3.0, 0.0, 2.0], [2.0, 0.0, 5.0, 1.0]]]])
pool = manual.MaxPool2d(2)
pooled, cache = pool.forward(square)
(back,), _ = pool.backward(np.array([[[[10.0, 20.0]]]]), cache)
print(f"{square[0, 0]}\nlargest: {pooled.ravel()}\nbackward:\n{back[0, 0]}")
same("10 and 20 go to the 3 and the 5", back[0, 0], np.array([[0.0, 10, 0, 0], [0, 0, 20, 0]]))

# %% [markdown]
# ## A convolutional network reads digits
#
# Eight kernels, ReLU, pooling, and one linear layer for the ten classes. First its gradients are
# compared with torch's. Then it learns, and is asked about digits that it has never seen.

# %%
digits = make("digits", {})
images, labels = digits.features.reshape(-1, 1, 8, 8) / 16, digits.labels
order = rng.permutation(len(images))
train, test = order[:1400], order[1400:]


def layers(side):
    return [side.Conv2d(1, 8, 3, padding=1), side.ReLU(), side.MaxPool2d(2), side.Flatten(),
            side.Linear(128, 10)]  # fmt: skip


net = manual.Sequential(*layers(manual))
params = {n: rng.normal(0, 0.15, p.shape) for n, p in net.params.items()}
problem = net, manual.CrossEntropyLoss(), params, images[:20], labels[:20]
ours, rounding = gradients(*problem), gauged(gradients, *problem)
nn = torch.nn
model = nn.Sequential(*layers(nn))
same_all(ours, torch_gradients(model, nn.CrossEntropyLoss(), *problem[2:]), rounding)


def accuracy(params, rows):
    return float(
        (net.with_params(params).run(images[rows]).output.argmax(1) == labels[rows]).mean()
    )


shares = [accuracy(params, test)]
for _ in range(4):
    for rows in np.array_split(rng.permutation(train), 44):
        step = gradients(net, manual.CrossEntropyLoss(), params, images[rows], labels[rows])
        params = {n: p - 0.5 * step[n] for n, p in params.items()}
    shares.append(accuracy(params, test))
print("digits never seen, right after each epoch:", " ".join(f"{s:.1%}" for s in shares))
assert shares[0] < 0.3
assert shares[-1] > 0.9

# %% [markdown]
# Beside torch, step by step, and with more layers: `handgrad run digits-cnn`. The famous one is in
# lesson 21.
#
# ## What changed in the code
#
# From a linear layer to a convolution: the loop over all pixels became a loop over the kernel, and
# each weight is met again at the next place.


# %%
def linear_loops(x, W, dy):
    dx, dW = np.zeros_like(x), np.zeros_like(W)
    for o in range(len(dy)):
        for i in range(len(x)):
            dW[o, i] += dy[o] * x[i]
            dx[i] += dy[o] * W[o, i]
    return {"x": dx, "W": dW}


code_diff(linear_loops, backward_loops, names=("a linear layer", "a convolution"))

# %% [markdown]
# ## What torch now does for you
#
# One node for the convolution, with all three gradients in it; one for pooling, which has kept
# where the largest were.

# %%
t_loss = nn.CrossEntropyLoss()(model(torch.tensor(images[:20])), torch.tensor(labels[:20]))
grad_fn_table(
    t_loss,
    [manual.Linear.backward, manual.Linear.grad_params, conv_backward],
    [
        ("NllLoss", "(picks the true class's log; the 1/N)"),
        ("LogSoftmax", "(softmax minus one-hot: lesson 10)"),
        ("Addmm", 'grad_output @ self.params["weight"]', "dy.T @ x", "dy.sum(axis=0)"),
        ("AccumulateGrad", "(`4.bias`)"),
        ("T", "(torch multiplies by the transposed weight)"),
        ("AccumulateGrad", "(`4.weight`)"),
        ("View", "(Flatten: the same numbers in another shape)"),
        ("MaxPool2DWithIndices", "(to the pixel that won)"),
        ("Relu", "(where the input was positive)"),
        ("Convolution", 'dW = np.einsum("nouv,ncuvab->ocab", dy, windows(x, K))',
         "dy.sum(axis=(0, 2, 3))"),
        ("AccumulateGrad", "(`0.weight`)"),
        ("AccumulateGrad", "(`0.bias`)"),
    ],
    dict(model.named_parameters()),
)  # fmt: skip

# %% [markdown]
# ## Your turn
#
# **An exercise.** Every place collects. (Then `max_pool`.)
#
# ```sh
# handgrad exercise start convolution
# handgrad exercise grade convolution.py
# ```
#
# **On paper.** A $5 \times 5$ picture and a $3 \times 3$ kernel: how many outputs, and in how
# many of them is the pixel in the middle? And one in a corner?
#
# <details><summary>Answer</summary>
#
# $3 \times 3$ outputs. The middle is in all 9, a corner in one.
#
# </details>
#
# **Find the mistake.** Somebody's `convolution` has this piece of code. It should be `+=`. For
# which kernels does it not matter?
#
# ```python
# = dout * w[k, j]
# ```
#
# <details><summary>Answer</summary>
#
# Of a $1 \times 1$ kernel each pixel is in one window only. Else the last share overwrites the
# others.
#
# </details>
