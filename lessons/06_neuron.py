# %% [markdown]
# # 6 · One neuron, and the learning rule of 1960
#
# A neuron adds up weighted inputs and squashes the sum. Its gradient is three short factors. Leave
# the squashing out, and what remains is the least-mean-squares rule of 1960 (LMS, ADALINE):
# backpropagation generalises it to layers.

# %%
import numpy as np
import torch

import manual
from teach.kit import (
    COLOURS,
    code_diff,
    figure,
    gauged,
    grad_fn_table,
    same,
    same_all,
    table,
)


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
# ## A layer is neurons side by side
#
# Four neurons that see the same inputs are one matrix product, with a neuron's weights in each
# column. Here is a forward pass through layers of $3 \to 4 \to 4 \to 1$ neurons, neuron by neuron
# and in three lines. The last layer is linear: it answers with any number, not only one between 0
# and 1.

# %%
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
# ## Other ways to squash
#
# Any function $f$ with a slope can take the sigmoid's place, and then $f'(z)$ takes the place of
# $a (1 - a)$ in $\delta$. These are the usual ones:
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
# (ReLU and its relatives have a kink at 0: lesson 23. A ReLU can also die: lesson 15. Torch calls
# the swish `SiLU`; its leaky ReLU has the slope 0.01 if none is given.)


# %%
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
# **Maxout** has no fixed function: $a = \max(w_1^\top x + b_1,\ w_2^\top x + b_2)$ is the larger of
# two linear neurons. It is a max gate: the whole error goes to the neuron that won.


# %%
def maxout(x, W, b):
    z = W @ x + b  # (2,): two neurons, a row of W for each
    won = np.array([z[0] > z[1], z[1] > z[0]]) * 1.0
    return {"a": np.maximum(z[0], z[1]), "x": won @ W, "W": won[:, None] * x[None, :], "b": won}


two = {"x": x, "W": np.array([w, [0.5, 1.0]]), "b": np.array([b, 0.25])}
pieces = {name: torch.tensor(value, requires_grad=True) for name, value in two.items()}
t_max = (pieces["W"] @ pieces["x"] + pieces["b"]).max()
t_max.backward()
rounding = {**gauged(maxout, *two.values()), "b": None}  # won is exact
same_all(maxout(*two.values()), {"a": t_max, **{k: p.grad for k, p in pieces.items()}}, rounding)
unit = manual.Maxout(2, 1).with_params({"weight": two["W"][:, None], "bias": two["b"][:, None]})
a_max, cache = unit.forward(x)
(dx,), own = unit.backward(np.ones(1), cache)
same_all(
    {"a": a_max[0], "x": dx, "W": own["weight"][:, 0], "b": own["bias"][:, 0]},
    maxout(*two.values()),
    rounding,
    name="manual.Maxout",
)

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
with figure("The mean squared error falls to the noise, pass by pass", steps=True, xlabel="passes",
            ylabel="mean squared error", yscale="log") as axes:  # fmt: skip
    axes.plot(mean_squares, label="LMS")
    axes.axhline(float(np.mean((X @ exact[:3] + exact[3] - Y) ** 2)), linestyle="--",
                 color=COLOURS["muted"], label="least squares")  # fmt: skip

# %% [markdown]
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
