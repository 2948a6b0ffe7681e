# %% [markdown]
# # 6 · One neuron, and the learning rule of 1960
#
# A neuron adds up weighted inputs and squashes the sum. Its gradient is three short factors. Leave
# the squashing out, and what remains is the least-mean-squares rule of 1960 (LMS, ADALINE):
# backpropagation generalises it to layers.

# %% tags=["hide-input"]
import numpy as np
import torch

import manual
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
class Neuron:
    def __init__(self, weights, bias):
        self.weights, self.bias = weights, bias

    def neuron_tick(self, inputs):
        cell_body_sum = np.sum(inputs * self.weights) + self.bias
        firing_rate = 1.0 / (1.0 + np.exp(-cell_body_sum))
        return firing_rate


w, b = np.array([2.0, -3.0]), np.array(-3.0)
x, y = np.array([-1.0, -2.0]), np.array(1.0)
a = Neuron(w, b).neuron_tick(x)
print(f"the neuron fires at {a:.2f}")

# %% [markdown]
# It is named after the cells in a brain, and that is most of what they share. A cell's inputs act
# through many kinds of synapses, at their own times, and change as it lives; it sends pulses, not a
# number. What we call a neuron is a sum and a squashing function.
#
# ## Its gradient
#
# With $z = \sum_i x_i w_i + b$, $a = \sigma(z)$ and the cost $C = \frac{1}{2} (a - y)^2$, the chain
# rule is a product of three local derivatives, from the cost back to the weight:
#
# $$\frac{\partial C}{\partial w_i} = \frac{\partial C}{\partial a} \cdot
# \frac{\partial a}{\partial z} \cdot \frac{\partial z}{\partial w_i}
# = \delta\, x_i, \qquad
# \frac{\partial C}{\partial b} = \delta, \qquad \delta = (a - y)\, \sigma'(z)$$
#
# The sigmoid's slope is $\sigma'(z) = a (1 - a)$. The number
# $\delta = \partial C / \partial z$ is the neuron's **error**. All that follows in the
# next lessons is a way to find $\delta$ for neurons that are not at the output.


# %%
def neuron_gradients(x, y, w, b):
    a = Neuron(w, b).neuron_tick(x)
    delta = (a - y) * a * (1 - a)
    return {"w": delta * x, "b": delta}


leaves = {"w": torch.tensor(w, requires_grad=True), "b": torch.tensor(b, requires_grad=True)}
t_a = torch.sigmoid(torch.dot(torch.tensor(x), leaves["w"]) + leaves["b"])
t_cost = (t_a - torch.tensor(y)).square() / 2
t_cost.backward()
by_hand = neuron_gradients(x, y, w, b)
same_all(
    by_hand, {k: leaf.grad for k, leaf in leaves.items()}, gauged(neuron_gradients, x, y, w, b)
)
table(
    {
        "∂C/∂a = a - y": [float(a - y)],
        "σ'(z) = a(1 - a)": [float(a * (1 - a))],
        "δ": [float(by_hand["b"])],
        "∂C/∂w_0": [float(by_hand["w"][0])],
        "∂C/∂w_1": [float(by_hand["w"][1])],
    }
)

# %% [markdown]
# ## The bias is a weight, too
#
# Is the bias special? Give the neuron one more input that is always 1. The weight of that input
# does what the bias did, and its gradient is $\delta \cdot 1$.

# %%
with_one, with_bias = np.append(x, 1.0), np.append(w, b)
same("the same output", Neuron(with_bias, 0.0).neuron_tick(with_one), a,
     gauged(lambda x, w: Neuron(w, 0.0).neuron_tick(x), with_one, with_bias))  # fmt: skip
no_bias = with_one, y, with_bias, np.array(0.0)
same("the last weight's gradient is the bias's", neuron_gradients(*no_bias)["w"][2], by_hand["b"],
     gauged(neuron_gradients, *no_bias)["w"][2])  # fmt: skip

# %% [markdown]
# ## A layer is neurons side by side
#
# Four neurons that see the same inputs are one matrix product, with a neuron's weights in each
# column. Here is a forward pass through layers of $3 \to 4 \to 4 \to 1$ neurons, neuron by neuron
# and in three lines. The last layer is linear: it answers with any number, not only one between 0
# and 1.

# %%
neurons([3, 4, 4, 1], "3 → 4 → 4 → 1: each line is a weight", ["sigmoid", "sigmoid", "linear"])
rng = np.random.default_rng(4)
sizes = [(3, 4), (4, 4), (4, 1)]
W1, W2, W3 = (rng.normal(size=size) for size in sizes)
b1, b2, b3 = (rng.normal(size=outputs) for _, outputs in sizes)
row = rng.normal(size=3)


def f(z):
    return 1.0 / (1.0 + np.exp(-z))


def three_layers(x, W1, b1, W2, b2, W3, b3):
    h1 = f(x @ W1 + b1)  # (4,)
    h2 = f(h1 @ W2 + b2)  # (4,)
    return h2 @ W3 + b3  # (1,)


h1 = np.array([Neuron(W1[:, j], b1[j]).neuron_tick(row) for j in range(4)])
h2 = np.array([Neuron(W2[:, j], b2[j]).neuron_tick(h1) for j in range(4)])
out = np.array([np.sum(h2 * W3[:, 0]) + b3[0]])
parameters = (W1, b1, W2, b2, W3, b3)
same("3 → 4 → 4 → 1, one neuron at a time", three_layers(row, *parameters), out,
     gauged(three_layers, row, *parameters))  # fmt: skip
weights, biases = sum(W.size for W in parameters[::2]), sum(b.size for b in parameters[1::2])
print(
    f"{biases} neurons, {weights} weights + {biases} biases = {weights + biases} numbers to learn"
)
assert weights + biases == 41

# %% [markdown]
# Many texts write $x$ as a column, and the same pass with another squashing function,
# $\max(0, z)$, and without biases as
#
# $$f = W_3 \max(0,\ W_2 \max(0,\ W_1 x))$$
#
# Each matrix is the transpose of ours, and the order turns around. What would be left without the
# $\max$? $W_3 W_2 W_1 x$, and that is *one* matrix: layers without squashing are no more than one
# layer.


# %%
def columns(x, W1, W2, W3):
    return W3 @ np.maximum(0, W2 @ np.maximum(0, W1 @ x))


def rows(x, W1, W2, W3):
    return np.maximum(0, np.maximum(0, x @ W1) @ W2) @ W3


same("as columns and as rows", columns(row, W1.T, W2.T, W3.T), rows(row, W1, W2, W3),
     gauged(rows, row, W1, W2, W3))  # fmt: skip
same("without max: one matrix", W3.T @ (W2.T @ (W1.T @ row)), (W3.T @ W2.T @ W1.T) @ row,
     gauged(lambda x, *W: W[2].T @ (W[1].T @ (W[0].T @ x)), row, W1, W2, W3))  # fmt: skip

# %% [markdown]
# ## Without the squashing: LMS
#
# For a linear neuron $a = z$, so $\sigma' = 1$ and $\delta = a - y$. A step against the gradient is
#
# $$w \leftarrow w - \eta\, (a - y)\, x, \qquad b \leftarrow b - \eta\, (a - y),$$
#
# which is the **least-mean-squares rule**: correct each weight in proportion to the error and to
# its own input. We apply it row by row to noisy data from a known line.

# %%
true_w, true_b = np.array([1.5, -2.0, 0.5]), 0.7
X = rng.normal(size=(200, 3))
Y = X @ true_w + true_b + 0.1 * rng.normal(size=200)


def lms(X, Y, w, b, lr):
    """One pass over the data: after every row, the LMS rule."""
    for n in range(len(X)):
        error = X[n] @ w + b - Y[n]
        w, b = w - lr * error * X[n], b - lr * error
    return {"w": w, "b": b}


# %% [markdown]
# The same pass by `manual`, whose `Linear` and `SquaredErrorLoss` know nothing of LMS, and by
# `torch.optim.SGD`. All three go through 200 updates and agree to the last digits.


# %%
def by_manual(X, Y, w, b, lr):
    graph = manual.Sequential(manual.Linear(3, 1))
    loss, descent = manual.SquaredErrorLoss(factor=0.5), manual.SGD(lr=lr)
    params = {"0.weight": w.reshape(1, 3), "0.bias": b.reshape(1)}
    for n in range(len(X)):
        graph = graph.with_params(params)
        tape = graph.run(X[n : n + 1])
        (upstream, *_), _ = loss.backward(1.0, loss.forward(tape.output, Y[n].reshape(1, 1))[1])
        grads = graph.gradients(tape, upstream).params
        params = {k: descent.update(p, grads[k], {}, lr)[0] for k, p in params.items()}
    return {"w": params["0.weight"].reshape(3), "b": params["0.bias"].reshape(())}


def by_torch(X, Y, w, b, lr):
    linear = torch.nn.Linear(3, 1).double()
    linear.load_state_dict({"weight": torch.tensor(w[None]), "bias": torch.tensor(b[None])})
    descent = torch.optim.SGD(linear.parameters(), lr=lr)
    for row, target in zip(torch.tensor(X), torch.tensor(Y), strict=True):
        descent.zero_grad()
        (0.5 * (linear(row) - target).square().sum()).backward()
        descent.step()
    return {"w": linear.weight[0], "b": linear.bias[0]}


start = X, Y, np.zeros(3), np.array(0.0), 0.02
rounding = gauged(lms, *start)
same_all(lms(*start), by_manual(*start), rounding)
same_all(lms(*start), by_torch(*start), rounding)

# %% [markdown]
# It finds the line, up to the noise: beside it stands the exact least-squares solution.

# %%
w_now, b_now, mean_squares = np.zeros(3), np.array(0.0), []
for _ in range(10):
    mean_squares.append(float(np.mean((X @ w_now + b_now - Y) ** 2)))
    w_now, b_now = lms(X, Y, w_now, b_now, 0.02).values()
mean_squares.append(float(np.mean((X @ w_now + b_now - Y) ** 2)))
exact = np.linalg.lstsq(np.c_[X, np.ones(len(X))], Y, rcond=None)[0]
table(
    {
        "": ["`w_0`", "`w_1`", "`w_2`", "`b`"],
        "true": [*true_w, true_b],
        "least squares": exact,
        "LMS": [*w_now, b_now],
    }
)
assert np.abs([*w_now, b_now] - exact).max() < 0.05
with figure("The mean squared error falls to the noise, pass by pass", steps=True, yscale="log",
            xlabel="passes over the data", ylabel="mean squared error") as axes:  # fmt: skip
    axes.plot(mean_squares, label="LMS")
    axes.axhline(float(np.mean((X @ exact[:3] + exact[3] - Y) ** 2)), linestyle="--",
                 color=COLOURS["muted"], label="least squares")  # fmt: skip

# %% [markdown]
# What was missing for more than one layer was the error of a neuron that is not at the output. The
# rule for it, the chain rule run backward through a program, was found several times in the 1960s
# and 1970s (Linnainmaa wrote it down for any program in 1970, Werbos proposed it for networks in
# 1974). It became known with a paper by Rumelhart, Hinton and Williams in 1986, which showed what
# hidden neurons learn by it.
#
# ## What changed in the code
#
# From LMS to a sigmoid neuron: one factor, $\sigma'(z)$, in the error.


# %%
def lms_gradients(x, y, w, b):
    a = np.sum(x * w) + b
    delta = a - y
    return {"w": delta * x, "b": delta}


code_diff(lms_gradients, neuron_gradients, names=("lms", "neuron"))

# %% [markdown]
# ## What torch now does for you
#
# The chain rule's factors, each a node. The two halves of $\delta$ are `Pow` and `Sigmoid`; `Dot`
# multiplies by the input.

# %%
grad_fn_table(
    t_cost,
    neuron_gradients,
    [
        ("Div", "(the ½, which cancels the 2 of the square)"),
        ("Pow", "(a - y)"),
        ("Sub", "(the target is a constant: nothing to do)"),
        ("Sigmoid", "a * (1 - a)"),
        ("Add", '"b": delta'),
        ("AccumulateGrad", '"b": delta'),
        ("Dot", "delta * x"),
        ("AccumulateGrad", '"w": delta * x'),
    ],
    leaves,
)

# %% [markdown]
# ## Your turn
#
# **An exercise.** Neurons side by side.
#
# ```sh
# handgrad exercise start linear
# handgrad exercise grade linear.py
# ```
#
# **On paper.** A linear neuron with $w = (1, 2)$, $b = 0$ sees $x = (3, -1)$ and should answer 2.
# What are its new weights by LMS with $\eta = 0.1$?
#
# <details><summary>Answer</summary>
#
# It answers 1, so the error is $-1$ and $w \leftarrow w + 0.1 \cdot (3, -1) = (1.3, 1.9)$, $b
# \leftarrow 0.1$. Now it answers $3.9 - 1.9 + 0.1 = 2.1$.
#
# </details>
#
# **Find the mistake.** Somebody's `linear` has this piece of code. For which layers do the shapes
# not show it?
#
# ```python
# dw = dout.T @ x
# ```
#
# <details><summary>Answer</summary>
#
# It is the transposed gradient. Of a layer with as many inputs as outputs it has the right shape.
#
# </details>
