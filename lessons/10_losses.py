# %% [markdown]
# # 10 · Losses and output layers: why the error is ŷ − y
#
# Three tasks, three output layers, three losses, and each time the same error at the output:
# prediction minus target. That is no accident: each loss undoes its output layer's slope. We see
# the two factors cancel, in numbers, and what goes wrong if they are computed apart. Then: mean or
# sum?

# %% tags=["hide-input"]
import numpy as np
import torch

import manual
from compare.description.config import load
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


# %%
def sigmoid(z):
    return 1 / (1 + np.exp(-z))


# %% [markdown]
# ## Two classes: sigmoid and binary cross-entropy
#
# One output, the chance of "yes": $\hat{y} = \sigma(z)$, and
# $L = -\left(y \log \hat{y} + (1 - y) \log(1 - \hat{y})\right)$. The chain rule has two factors:
#
# $$\frac{\partial L}{\partial \hat{y}} = \frac{\hat{y} - y}{\hat{y} (1 - \hat{y})}, \qquad
# \sigma'(z) = \hat{y} (1 - \hat{y}) \qquad \Rightarrow \qquad
# \delta = \frac{\partial L}{\partial z} = \hat{y} - y$$
#
# The denominator is the slope. However flat the sigmoid is, the loss is as steep.


# %%
def two_factors(z, y):
    p = sigmoid(z)
    slope = p * (1 - p)  # dŷ/dz
    dp = (p - y) / (p * (1 - p))  # dL/dŷ
    return dp * slope


def collapsed(z, y):
    p = sigmoid(z)
    return p - y


z = np.array([-6.0, -2.0, 0.0, 2.0, 6.0])
y = np.zeros(5)  # all are "no"
t_z = torch.tensor(z, requires_grad=True)
bce = torch.nn.functional.binary_cross_entropy(torch.sigmoid(t_z), torch.tensor(y), reduction="sum")
bce.backward()
same("(dL/dŷ) σ' and ŷ - y", two_factors(z, y), collapsed(z, y), gauged(two_factors, z, y))
same("ŷ - y, by autograd", collapsed(z, y), t_z.grad, gauged(two_factors, z, y))
p = sigmoid(z)
table(
    {
        "z": z,
        "ŷ": p,
        "∂L/∂ŷ": (p - y) / (p * (1 - p)),
        "σ'(z)": p * (1 - p),
        "their product": two_factors(z, y),
        "ŷ - y": collapsed(z, y),
    }
)

# %% [markdown]
# ## With the squared error it does not cancel
#
# $L = \frac{1}{2} (\hat{y} - y)^2$ gives $\delta = (\hat{y} - y)\, \sigma'(z)$. An output that is
# completely wrong has a flat slope, so it hardly learns. Here the target is 0, so the farther
# right, the more wrong.

# %%
zs = np.linspace(-8, 8, 161)
label = "The error δ of a sigmoid output whose target is 0: one loss corrects, the other gives up"
with figure(label, xlabel="z", ylabel="δ") as axes:
    axes.plot(zs, sigmoid(zs), color=COLOURS["s1"], label="cross-entropy: ŷ - y")
    slopes = sigmoid(zs) * (1 - sigmoid(zs))
    axes.plot(zs, sigmoid(zs) * slopes, color=COLOURS["s2"], label="squared error: (ŷ - y) σ'(z)")


def squared_error_delta(z, y):
    p = sigmoid(z)
    return (p - y) * p * (1 - p)


u_z = torch.tensor(z, requires_grad=True)
(0.5 * (torch.sigmoid(u_z) - torch.tensor(y)).square().sum()).backward()
same("squared error", squared_error_delta(z, y), u_z.grad, gauged(squared_error_delta, z, y))
ratio = float(squared_error_delta(z, y)[-1] / collapsed(z, y)[-1])
print(f"at z = {z[-1]:g} the squared error corrects {ratio:.4f} times as much")
assert ratio < 0.01

# %% [markdown]
# ## K classes: softmax and cross-entropy
#
# $s_i = e^{z_i} / \sum_k e^{z_k}$, and $L = -\log s_c$ for the right class $c$; with a one-hot $y$,
# $L = -\sum_i y_i \log s_i$. Each $s_i$ depends on every $z_j$, so the slope is a full matrix:
#
# $$\frac{\partial s_i}{\partial z_j} = s_i (\mathbf{1}_{i=j} - s_j), \qquad
# \frac{\partial L}{\partial s_i} = -\frac{y_i}{s_i}$$
#
# $$\frac{\partial L}{\partial z_j} = \sum_i -\frac{y_i}{s_i}\, s_i (\mathbf{1}_{i=j} - s_j)
# = -y_j + s_j \sum_i y_i = s_j - y_j$$
#
# The $s_i$ cancels, and the $y_i$ add up to one.


# %%
def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def through_the_jacobian(z, y):
    s = softmax(z)
    jacobian = np.diag(np.ones(3)) * s[:, None] - s[:, None] * s[None, :]  # ∂s_i/∂z_j
    ds = -y / s
    return ds @ jacobian


def softmax_collapsed(z, y):
    return softmax(z) - y


scores, one_hot = np.array([2.0, -1.0, 0.5]), np.array([0.0, 1.0, 0.0])
t_scores = torch.tensor(scores, requires_grad=True)
torch.nn.functional.cross_entropy(t_scores, torch.tensor(1)).backward()
rounding = gauged(through_the_jacobian, scores, one_hot)
same("-y/s through the Jacobian, and s - y", through_the_jacobian(scores, one_hot),
     softmax_collapsed(scores, one_hot), rounding)  # fmt: skip
same("s - y, by autograd", softmax_collapsed(scores, one_hot), t_scores.grad, rounding)
jacobian = torch.autograd.functional.jacobian(lambda z: torch.softmax(z, 0), t_scores.detach())
s = softmax(scores)
same("softmax's Jacobian", np.diag(s) - np.outer(s, s), jacobian,
     gauged(lambda z: np.diag(np.ones(3)) * softmax(z)[:, None]
            - softmax(z)[:, None] * softmax(z)[None, :], scores))  # fmt: skip
table({"z": scores, "s": s, "y": one_hot, "∂L/∂z": softmax_collapsed(scores, one_hot)})

# %% [markdown]
# ## A number: linear output and squared error
#
# For a regression the output is linear, $\hat{y} = z$, its slope is 1, and
# $L = \frac{1}{2} (\hat{y} - y)^2$ has $\delta = \hat{y} - y$ at once. So all three tasks end
# alike. We let `manual`'s own layers go through output and loss, one after the other, and compare
# with $\hat{y} - y$ and with torch.

# %%
rng = np.random.default_rng(7)
Z1, Z3 = rng.normal(size=(6, 1)), rng.normal(size=(6, 3))
numbers, yes_no = rng.normal(size=(6, 1)), np.array([[0], [1], [1], [0], [1], [0]], dtype=float)
labels = np.array([2, 0, 1, 1, 0, 2])


def delta_by_layers(output, loss, z, target):
    """∂(loss)/∂z, back through the loss and then through the output layer."""
    prediction, cache = output.forward(z)
    (upstream, *_), _ = loss.backward(1.0, loss.forward(prediction, target)[1])
    return output.backward(upstream, cache)[0][0]


def delta_by_torch(output, loss, z, target):
    z = torch.tensor(z, requires_grad=True)
    loss(output(z), torch.tensor(target)).backward()
    return z.grad


nn, total = torch.nn, {"reduction": "sum"}
PRESETS = {"diabetes": "MSELoss", "breast-cancer": "BCEWithLogitsLoss", "iris": "CrossEntropyLoss"}
tasks = {
    "regression": (
        (manual.Identity(), manual.SquaredErrorLoss(factor=0.5), Z1, numbers),
        (nn.Identity(), lambda p, t: 0.5 * nn.MSELoss(reduction="sum")(p, t), Z1, numbers),
        Z1 - numbers,
    ),
    "two classes": (
        (manual.Sigmoid(), manual.BCELoss(**total), Z1, yes_no),
        (nn.Sigmoid(), nn.BCELoss(**total), Z1, yes_no),
        sigmoid(Z1) - yes_no,
    ),
    "K classes": (
        (manual.LogSoftmax(dim=-1), manual.NLLLoss(**total), Z3, labels),
        (nn.LogSoftmax(dim=-1), nn.NLLLoss(**total), Z3, labels),
        softmax(Z3) - np.eye(3)[labels],
    ),
}
for task, (by_hand, by_autograd, error) in tasks.items():
    rounding = gauged(delta_by_layers, *by_hand)
    same(f"{task}, by layers", delta_by_layers(*by_hand), error, rounding)
    same(f"{task}, by autograd", delta_by_layers(*by_hand), delta_by_torch(*by_autograd), rounding)
table(
    {
        "task": list(tasks),
        "output layer": ["1 linear", "1 sigmoid", "K, softmax"],
        "loss": ["half the squared error", "binary cross-entropy", "cross-entropy"],
        "in one, `manual` and torch": [
            "`½ MSELoss`",
            "`BCEWithLogitsLoss`",
            "`CrossEntropyLoss`",
        ],
        "δ": ["ŷ - y"] * 3,
        "to train one: `handgrad run`": [f"`{name}`" for name in PRESETS],
    }
)
for name, loss in PRESETS.items():
    assert load(name, {}).loss.type == loss

# %% [markdown]
# ## Why the two belong together
#
# On paper the slopes cancel exactly. In floats, $\sigma(40)$ is 1 to the last digit, so $1 -
# \hat{y}$ is 0: nothing is left to cancel, and the gradient is lost, although this output is as
# wrong as can be. `BCEWithLogitsLoss` takes $z$ and never forms the quotient. Torch behaves in the
# same way.

# %%
wrong = np.array([[2.0], [20.0], [40.0]])
no = np.zeros((3, 1))


def apart(z):
    return delta_by_layers(manual.Sigmoid(), manual.BCELoss(**total), z, no)


def fused(z):
    return delta_by_layers(manual.Identity(), manual.BCEWithLogitsLoss(**total), z, no)


torch_apart = delta_by_torch(nn.Sigmoid(), nn.BCELoss(**total), wrong, no)
torch_fused = delta_by_torch(nn.Identity(), nn.BCEWithLogitsLoss(**total), wrong, no)
same("fused, by hand and by torch", fused(wrong), torch_fused, gauged(fused, wrong))
table(
    {
        "z": wrong[:, 0],
        "apart, by hand": apart(wrong)[:, 0],
        "apart, by torch": torch_apart[:, 0].numpy(),
        "in one, by hand": fused(wrong)[:, 0],
        "in one, by torch": torch_fused[:, 0].numpy(),
    }
)
assert apart(wrong)[2, 0] == torch_apart[2, 0] == 0
assert fused(wrong)[2, 0] == torch_fused[2, 0] == 1

# %% [markdown]
# ## Mean or sum?
#
# A batch has $N$ rows. `reduction="sum"` adds their losses, `"mean"` divides by a count, and the
# gradient is divided by the same count. Which count is a convention, and a common cause of a
# gradient that is right but for a constant: torch's `MSELoss` divides by the number of
# **elements**, $N K$; the cross-entropy by the number of **rows**, $N$. The course's half squared
# error, averaged over samples, divides by $N$ too.

# %%
targets = rng.normal(size=(6, 3))
N, K = Z3.shape
conventions = {
    "MSELoss": (targets, "N K", N * K),
    "BCEWithLogitsLoss": ((targets > 0).astype(float), "N K", N * K),
    "CrossEntropyLoss": (labels, "N", N),
    "SquaredErrorLoss": (targets, "N", N),
}
for name, (target, _, count) in conventions.items():
    delta = {}
    for reduction in ("sum", "mean"):
        by_hand = manual.Identity(), getattr(manual, name)(reduction=reduction), Z3, target
        delta[reduction], rounding = delta_by_layers(*by_hand), gauged(delta_by_layers, *by_hand)
        if hasattr(nn, name):
            theirs = getattr(nn, name)(reduction=reduction)
            by_torch = delta_by_torch(nn.Identity(), theirs, Z3, target)
            same(f"{name}, {reduction}", delta[reduction], by_torch, rounding)
    same(f"{name}: the sum's δ / {count}", delta["sum"] / count, delta["mean"], rounding)
table(
    {
        "loss": [f"`{name}`" for name in conventions],
        "the mean divides by": [symbol for _, symbol, _ in conventions.values()],
        f"with N = {N}, K = {K}": [count for *_, count in conventions.values()],
    }
)

# %% [markdown]
# ## What changed in the code
#
# From two factors to their product: three lines become one, and a division that can fail is gone.

# %%
code_diff(two_factors, collapsed, names=("two factors", "collapsed"))

# %% [markdown]
# ## What torch now does for you
#
# Written apart, autograd goes back through two nodes and multiplies, as `two_factors` does.
# Written as one loss, there is one node, and it computes $\hat{y} - y$.

# %%
leaf = torch.tensor(z, requires_grad=True)
in_one = nn.functional.binary_cross_entropy_with_logits(leaf, torch.tensor(y), reduction="sum")
grad_fn_table(
    bce,
    two_factors,
    [
        ("BinaryCrossEntropy", "dp = (p - y) / (p * (1 - p))"),
        ("Sigmoid", "slope = p * (1 - p)", "dp * slope"),
        ("AccumulateGrad", "return dp * slope"),
    ],
    {"z": t_z},
)
grad_fn_table(
    in_one,
    collapsed,
    [("BinaryCrossEntropyWithLogits", "p - y"), ("AccumulateGrad", "return p - y")],
    {"z": leaf},
)
in_one.backward()
same_all({"δ": collapsed(z, y)}, {"δ": leaf.grad}, {"δ": gauged(collapsed, z, y)})

# %% [markdown]
# ## Your turn
#
# **An exercise.** The cancellation, in your own words. (Then `softmax_cross_entropy`.)
#
# ```sh
# handgrad exercise start bce
# handgrad exercise grade bce.py
# ```
#
# **On paper.** $\hat y = 0.9$ and $y = 1$. What is $\delta$ with cross-entropy, and what with
# $\frac{1}{2}(\hat y - y)^2$? And for $y = 0$?
#
# <details><summary>Answer</summary>
#
# $-0.1$, and $-0.1 \cdot 0.09 = -0.009$. For $y = 0$: 0.9, and $0.9 \cdot 0.09 = 0.081$: the
# squared error hardly corrects it.
#
# </details>
#
# **Find the mistake.** Somebody's `bce` has this piece of code. This is to be the gradient of
# sigmoid with cross-entropy. Whose is it?
#
# ```python
# dout * (p - y) * p * (1 - p) / len(y)
# ```
#
# <details><summary>Answer</summary>
#
# That of the squared error: $p (1 - p)$ cancels in the cross-entropy.
#
# </details>
