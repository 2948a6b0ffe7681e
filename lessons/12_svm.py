# %% [markdown]
# # 12 · Two linear classifiers: the SVM and softmax
#
# A linear classifier gives each class a score. Two losses are common for it: the hinge, which makes
# a support vector machine (SVM), and the softmax cross-entropy. The scores and their gradients are
# the same; only the loss, and its two or three lines of gradient, differ.

# %% tags=["hide-input"]
import numpy as np
import torch

import compare
import manual
from compare.description.config import load
from compare.running.experiment import prepare
from teach.kit import (
    code_diff,
    figure,
    gauged,
    grad_fn_table,
    gradients,
    network,
    same,
    same_all,
    table,
)

# %% [markdown]
# ## The hinge
#
# There are three classes, and the scores of one picture are $s = (3.2,\ 5.1,\ -1.7)$. Its class is
# the first one. Is that good? The hinge asks the true class to lead every other by 1, and counts
# what is missing: $\max(0,\ 5.1 - 3.2 + 1) = 2.9$ for the second class, and
# $\max(0,\ -1.7 - 3.2 + 1) = 0$ for the third. So $L = 2.9$.

# %%
three = np.array([3.2, 5.1, -1.7])
missing = np.maximum(0, three - three[0] + 1) * np.array([0, 1, 1])
table({"class": [1, 2, 3], "score": three, "missing to the margin": missing})
assert abs(missing.sum() - 2.9) < 1e-12

lead = np.linspace(-3, 4, 141)
with figure("The hinge: no loss once the true class leads by 1, and then no gradient either",
            xlabel="lead of the true class", ylabel="loss", steps=True) as axes:  # fmt: skip
    axes.plot(lead, np.maximum(0, 1 - lead), label="hinge, max(0, 1 - lead)")
    axes.plot(lead, np.log1p(np.exp(-lead)), "--", label="softmax of two classes")

# %% [markdown]
# ## The SVM
#
# Scores are linear, $s = X W + b$, and the loss asks the true class's score $s_y$ to lead each
# other by 1. The full loss adds the sum of squared weights. Four stages forward, and the same four
# backward:
#
# $$L_i = \sum_{j \ne y_i} \max(0, s_j - s_{y_i} + 1), \qquad
# L = \frac{1}{N} \sum_i L_i + \sum W^2$$
#
# A margin that is broken pushes its score down with weight $1/N$ and the true class's up with
# the same; one that is kept has no gradient at all: a max gate.

# %% tags=["hide-input"]
graph = manual.Graph(
    [
        ("scores", manual.MatMulGate(), ("x", "W")),
        ("hinge", manual.MulticlassHingeLoss(), ("scores", "y")),
        ("R", manual.L2Penalty(1.0), ("W",)),
        ("loss", manual.AddGate(), ("hinge", "R")),
    ],
    inputs=("x", "W", "y"),
)
network(graph, "W x → hinge → + R: the weights are used twice, so two gradients come back to W")


# %%
def leaves_of(**arrays):
    return {name: torch.tensor(a, requires_grad=True) for name, a in arrays.items()}


def gradients_of(loss, leaves):
    loss.backward()
    return {"loss": loss, **{name: leaf.grad for name, leaf in leaves.items()}}


def svm(X, Iy, W, b):
    N = len(X)
    scores = X @ W + b  # (N, K)
    true = (scores * Iy).sum(axis=1, keepdims=True)  # (N, 1)
    margins = np.maximum(scores - true + 1, 0) * (1 - Iy)  # (N, K)
    data_loss = margins.sum() / N
    reg_loss = (W * W).sum()
    broken = margins > 0  # backward: the last stage first
    dscores = (broken - Iy * broken.sum(axis=1, keepdims=True)) / N  # (N, K)
    dW = X.T @ dscores + 2 * W  # (D, K)
    db = dscores.sum(axis=0)  # (K,)
    return {"loss": data_loss + reg_loss, "W": dW, "b": db}


preset = prepare(load("svm", {}))  # its data, and the weights that both sides start from
X64, labels64 = preset.rows(next(preset.batches()))
I64 = np.eye(10)[labels64]
U, b = preset.weights["scores.weight"].T, preset.weights["scores.bias"]


def svm_with_torch(X, labels, leaves):
    scores = torch.tensor(X) @ leaves["W"] + leaves["b"]
    index = torch.tensor(labels)[:, None]
    margins = torch.relu(scores - scores.gather(1, index) + 1).scatter(1, index, 0.0)
    return margins.sum() / len(X) + leaves["W"].square().sum()


svm_leaves = leaves_of(W=U, b=b)
svm_loss = svm_with_torch(X64, labels64, svm_leaves)
svm_found = svm(X64, I64, U, b)
rounding = gauged(svm, X64, I64, U, b)
rounding.pop("b")  # counts divided by N = 64: nothing rounds, so not one bit may differ
same_all(svm_found, gradients_of(svm_loss, svm_leaves), rounding)
broken = int((svm_found["b"] * 64 > 0).sum())
print(f"{broken} of 10 classes are pushed down more often than up")

# %% [markdown]
# ## The softmax classifier
#
# The **softmax classifier** is the same but for the data loss: two lines forward, one backward.


# %%
def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def softmax_classifier(X, Iy, W, b):
    N = len(X)
    scores = X @ W + b  # (N, K)
    S = softmax(scores)  # (N, K)
    data_loss = -(Iy * np.log(S)).sum() / N
    reg_loss = (W * W).sum()
    dscores = (S - Iy) / N  # (N, K)
    dW = X.T @ dscores + 2 * W  # (D, K)
    db = dscores.sum(axis=0)  # (K,)
    return {"loss": data_loss + reg_loss, "W": dW, "b": db}


leaves = leaves_of(W=U, b=b)
scores = torch.tensor(X64) @ leaves["W"] + leaves["b"]
loss = (
    torch.nn.functional.cross_entropy(scores, torch.tensor(labels64)) + leaves["W"].square().sum()
)
classifier = X64, I64, U, b
same_all(softmax_classifier(*classifier), gradients_of(loss, leaves),
         gauged(softmax_classifier, *classifier))  # fmt: skip

# %% [markdown]
# A few numbers: as the largest score pulls away from the others, its share $s_c$ becomes nearly 1.
# The cross-entropy $-\log s_c$ of the right class then goes to 0, and never reaches it; the hinge
# does.

# %%
far = np.array([[0.0, 0, 0], [1, 0, 0], [5, 0, 0], [10, 0, 0]])
shares = softmax(far)[:, 0]
table({"lead": far[:, 0], "softmax's largest entry": shares, "-log of it": -np.log(shares),
       "hinge": 2 * np.maximum(0, 1 - far[:, 0])})  # fmt: skip
assert (np.diff(shares) > 0).all()
assert 0.9999 < shares[-1] < 1

# %% [markdown]
# ## Beside the preset
#
# The preset `svm` is the same, built from `manual`'s layers. Our own gradients must be its own, and
# those are compared with torch's by the harness, tensor by tensor.

# %%
margin = gradients(preset.manual.graph, preset.manual.loss, preset.weights, X64, labels64)
(penalty,), _ = manual.L2Penalty(1.0).backward(1.0, manual.L2Penalty(1.0).forward(U)[1])
same("svm, W", svm_found["W"], margin["scores.weight"].T + penalty, rounding["W"])
same("svm, b", svm_found["b"], margin["scores.bias"])
report = compare.run("svm", steps=1)
print(report.verdict, len(report.differences), "tensors compared")
assert report.agrees

# %% [markdown]
# ## What changed in the code
#
# From the SVM to the softmax classifier one of the three parts is exchanged, the loss, and only its
# stages change. `dW` and `db` belong to the hypothesis and stay.

# %%
code_diff(svm, softmax_classifier, names=("svm", "softmax"))

# %% [markdown]
# ## What torch now does for you
#
# The nodes that `loss.backward()` visits, and our line beside each.

# %%
grad_fn_table(
    svm_loss,
    svm,
    [
        ("Add", "(the two losses are added: the gradient goes to both)"),
        ("Sum", "(one for every weight)"),
        ("Pow", "2 * W"),
        ("Div", "/ N"),
        ("Sum", "(one for every margin)"),
        ("ScatterBackward1", "* (1 - Iy)"),
        ("Relu", "broken = margins > 0"),
        ("Add", "(the 1: nothing to do)"),
        ("Sub", "dscores = (broken - Iy * broken.sum(axis=1, keepdims=True)) / N"),
        ("Gather", "Iy * broken.sum(axis=1, keepdims=True)"),
        ("Add", "db = dscores.sum(axis=0)"),
        ("AccumulateGrad", '"b": db'),
        ("Mm", "dW = X.T @ dscores"),
        ("AccumulateGrad", '"W": dW'),
    ],
    svm_leaves,
)

# %% [markdown]
# ## Your turn
#
# **An exercise.** Count the margins.
#
# ```sh
# handgrad exercise start hinge
# handgrad exercise grade hinge.py
# ```
#
# **On paper.** Scores $(3, 5, 2)$, and the first class is right. What is the hinge, and what is
# its gradient?
#
# <details><summary>Answer</summary>
#
# $\max(0, 5 - 3 + 1) + \max(0, 2 - 3 + 1) = 3 + 0$. The gradient is $(-1, 1, 0)$; the second
# margin is exactly at its kink, where 0 is taken.
#
# </details>
#
# **Find the mistake.** Somebody's `hinge` has this piece of code. For which rows is it right?
#
# ```python
# ds[rows, y] = -1.0
# ```
#
# <details><summary>Answer</summary>
#
# For those with exactly one positive margin. The right class is in each of them, so it gets minus
# their number.
#
# </details>
