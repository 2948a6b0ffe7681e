# %% [markdown]
# # 14 · Graphs, a layer of your own, and the three parts of a learner
#
# Layers need not stand in a row. In a graph a value may feed two layers, and then two gradients
# come back and are added. We build one, write a layer of our own and have it checked, and see that
# a learner is three exchangeable parts: hypothesis, loss and optimiser.

# %% tags=["hide-input"]
import numpy as np
import torch
from torch import nn

import compare
import manual
from compare.description.data.datasets import make
from compare.description.data.scaling import scale
from manual.graph import Layer
from teach.kit import (
    code_diff,
    gauged,
    grad_fn_table,
    gradients,
    network,
    same_all,
    table,
    torch_gradients,
)
from torch_ref import as_torch

# %%
students = make("students", {})
X = scale(students.features, "standard")  # (N, 2): a row is a sample
Y = students.labels[:, None].astype(float)  # (N, 1)
rng = np.random.default_rng(14)
params = {
    "0.weight": rng.normal(size=(4, 2)),
    "0.bias": rng.normal(size=4),
    "2.weight": rng.normal(size=(1, 4)),
    "2.bias": rng.normal(size=1),
}

# %% [markdown]
# ## A graph with branches
#
# `manual.Graph` takes named nodes in any order and sorts them: forward visits each after those
# that feed it, backward in reverse. Where a value feeds two nodes its gradients add (lesson 4).
# Here the first layer's output skips past the second and is added to it again.

# %%
skip = manual.Graph(
    [
        ("sum", manual.Add(), ("first", "second")),
        ("second", manual.Tanh(), ("first",)),
        ("out", manual.Linear(4, 1), ("sum",)),
        ("first", manual.Linear(2, 4), ("input",)),
    ]
)
network(skip, "One value, two readers: their gradients add")
weights = {f"{name}.{key}": params[f"{i}.{key}"] for i, name in ((0, "first"), (2, "out"))
           for key in ("weight", "bias")}  # fmt: skip


class Skip(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.out = nn.Linear(2, 4), nn.Linear(4, 1)

    def forward(self, x):
        first = self.first(x)
        return self.out(first + torch.tanh(first))


problem = skip, manual.BCEWithLogitsLoss(), weights, X, Y
theirs = torch_gradients(Skip(), nn.BCEWithLogitsLoss(), weights, X, Y)
skip_found = gradients(*problem)
same_all(skip_found, theirs, gauged(gradients, *problem))
visited = []


class Heard(Layer):
    """A layer that writes down when it is visited."""

    def __init__(self, name, layer):
        self.name, self.layer, self.params = name, layer, layer.params

    def forward(self, *inputs):
        visited.append(self.name)
        return self.layer.forward(*inputs)

    def backward(self, dy, cache):
        visited.append(self.name)
        return self.layer.backward(dy, cache)


graph = skip.with_params(weights)
graph = graph.with_layers({node.name: Heard(node.name, node.layer) for node in graph.nodes})
tape = graph.run(X)
graph.gradients(tape, np.ones_like(tape.output))
print("forward: ", " → ".join(visited[:4]))
print("backward:", " → ".join(visited[4:]))
assert visited == ["first", "second", "sum", "out", "out", "sum", "second", "first"]

# %% [markdown]
# ## A layer of your own
#
# A gain for each feature: $y_{ni} = g_i\, x_{ni}$. The gain $g_i$ is used once for every sample, so
# its gradient sums over $n$:
#
# $$\frac{\partial L}{\partial x_{ni}} = \frac{\partial L}{\partial y_{ni}}\, g_i, \qquad
# \frac{\partial L}{\partial g_i} = \sum_n \frac{\partial L}{\partial y_{ni}}\, x_{ni}$$


# %%
class Gain(Layer):
    """A factor for each feature."""

    def __init__(self, features):
        self.params = {"gain": np.ones(features)}

    def forward(self, x):
        return x * self.params["gain"], x

    def backward(self, dy, x):
        return (dy * self.params["gain"],), {"gain": (dy * x).sum(axis=0)}


class AveragedGain(Gain):
    """The same with a plausible mistake: the mean over the batch for the sum."""

    def backward(self, dy, x):
        return (dy * self.params["gain"],), {"gain": (dy * x).mean(axis=0)}


def check(layer):
    inputs = {"x": (5, 3), "gain": (3,)}
    return compare.check(layer, reference=lambda x, gain: x * gain, inputs=inputs)


right, wrong = check(Gain(3)), check(AveragedGain(3))
table(
    {
        "layer": ["`Gain`", "`AveragedGain`"],
        "verdict": [right.verdict, wrong.verdict],
        "tensors compared": [len(right.differences), len(wrong.differences)],
        "do not agree": [
            len(report.differences.query("verdict == 'disagree'")) for report in (right, wrong)
        ],
    }
)
print("cause:", wrong.cause)
assert str(wrong.cause).startswith("batch size")
assert (right.verdict, wrong.verdict) == ("agree", "disagree")

# %% [markdown]
# The check ran it beside torch on random numbers, a batch of one, ties, zeros, huge and tiny
# values. Now the layer can stand in any network: here after the first `Linear`, and, by `as_torch`,
# in a torch network under autograd.

# %%
tuned = manual.Sequential(manual.Linear(2, 4), Gain(4), manual.Tanh(), manual.Linear(4, 1))
weights = {
    **{f"0.{key}": params[f"0.{key}"] for key in ("weight", "bias")},
    "1.gain": rng.normal(size=4),
    **{f"3.{key}": params[f"2.{key}"] for key in ("weight", "bias")},
}


class TorchGain(nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(4))

    def forward(self, x):
        return x * self.gain


problem = tuned, manual.BCEWithLogitsLoss(), weights, X, Y
ours, rounding_here = gradients(*problem), gauged(gradients, *problem)
for label, module in {"Gain in torch's place": as_torch(Gain(4)), "all torch": TorchGain()}.items():
    model = nn.Sequential(nn.Linear(2, 4), module, nn.Tanh(), nn.Linear(4, 1))
    theirs = torch_gradients(model, nn.BCEWithLogitsLoss(), weights, X, Y)
    same_all(ours, theirs, rounding_here, name=label)

# %% [markdown]
# ## Three parts of a learner
#
# A network is only one of three parts. The **hypothesis** $h_\theta$ maps an input to scores, the
# **loss** says how bad scores are for a label, the **optimiser** uses the gradient:
#
# $$\theta \leftarrow \theta - \alpha\, \nabla_\theta\,
# \frac{1}{m} \sum_{i=1}^{m} \ell\left(h_\theta(x^{(i)}),\, y^{(i)}\right)$$
#
# None of them knows the other two, so any can be exchanged alone. With a linear hypothesis the
# cross-entropy makes a softmax classifier, and the hinge loss an SVM (torch's `MultiMarginLoss` is
# lesson 12's, divided by the number of classes); with the two layers $\sigma(X W_1) W_2$, without
# biases, we have the network of lesson 11. We train all eight for 20 steps, beside torch.


# %%
def train(hypothesis, loss, optimiser, params, X, y, steps=20):
    states = {}
    for _ in range(steps):
        found = gradients(hypothesis, loss, params, X, y)
        params, states = optimiser.step(params, found, states)
    return {"loss": found["loss"], **params}


def train_with_torch(hypothesis, loss, optimiser, params, X, y, steps=20):
    hypothesis = hypothesis.double()
    hypothesis.load_state_dict({name: torch.tensor(p) for name, p in params.items()})
    descent = optimiser(hypothesis.parameters())
    for _ in range(steps):
        descent.zero_grad()
        value = loss(hypothesis(torch.tensor(X)), torch.tensor(y))
        value.backward()
        descent.step()
    return {"loss": value, **dict(hypothesis.named_parameters())}


clouds = make("random_classification", {"n": 60})
points, labels = clouds.features, clouds.labels  # (60, 2), three classes
hypotheses = {
    "linear": (manual.Sequential(manual.Linear(2, 3)), nn.Sequential(nn.Linear(2, 3))),
    "two layers": (
        manual.Sequential(
            manual.Linear(2, 8, bias=False), manual.ReLU(), manual.Linear(8, 3, bias=False)
        ),
        nn.Sequential(nn.Linear(2, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False)),
    ),
}
losses = {
    "cross-entropy": (manual.CrossEntropyLoss(), nn.CrossEntropyLoss()),
    "hinge": (manual.MultiMarginLoss(), nn.MultiMarginLoss()),
}
optimisers = {
    "SGD": (manual.SGD(lr=0.1), lambda p: torch.optim.SGD(p, lr=0.1)),
    "Adam": (manual.Adam(lr=0.1), lambda p: torch.optim.Adam(p, lr=0.1)),
}
learners = []
for h, (our_h, their_h) in hypotheses.items():
    begin = {name: rng.normal(size=p.shape) for name, p in our_h.params.items()}
    for l, (our_loss, their_loss) in losses.items():
        for o, (our_rule, their_rule) in optimisers.items():
            ours = train(our_h, our_loss, our_rule, begin, points, labels)
            theirs = train_with_torch(their_h, their_loss, their_rule, begin, points, labels)
            error = gauged(train, our_h, our_loss, our_rule, begin, points, labels)
            same_all(ours, theirs, error, name=f"{h}, {l}, {o}")
            first = gradients(our_h, our_loss, begin, points, labels)["loss"]
            learners.append((h, l, o, float(first), float(ours["loss"])))
            assert ours["loss"] < first
headings = ("hypothesis", "loss", "optimiser", "J, step 1", "J, step 20")
table(dict(zip(headings, zip(*learners, strict=True), strict=True)))

# %% [markdown]
# ## What changed in the code
#
# With a branch, what comes back to the first layer is a sum. Here is the backward pass of the graph
# above by hand, without the branch and with it.


# %%
def plain(x, y, W1, b1, W2, b2):
    first = x @ W1.T + b1  # (N, 4)
    second = np.tanh(first)
    z = second @ W2.T + b2  # (N, 1)
    dz = (1 / (1 + np.exp(-z)) - y) / len(x)
    dsecond = dz @ W2
    dfirst = dsecond * (1 - second * second)
    return {"first.weight": dfirst.T @ x, "first.bias": dfirst.sum(axis=0),
            "out.weight": dz.T @ second, "out.bias": dz.sum(axis=0)}  # fmt: skip


def branched(x, y, W1, b1, W2, b2):
    first = x @ W1.T + b1  # (N, 4)
    second = np.tanh(first)
    total = first + second
    z = total @ W2.T + b2  # (N, 1)
    dz = (1 / (1 + np.exp(-z)) - y) / len(x)
    dtotal = dz @ W2
    dfirst = dtotal + dtotal * (1 - second * second)
    return {"first.weight": dfirst.T @ x, "first.bias": dfirst.sum(axis=0),
            "out.weight": dz.T @ total, "out.bias": dz.sum(axis=0)}  # fmt: skip


ours = branched(X, Y, *params.values())
same_all(ours, {name: skip_found[name] for name in ours}, gauged(branched, X, Y, *params.values()))
code_diff(plain, branched, names=("a chain", "a branch"))

# %% [markdown]
# ## What torch now does for you
#
# It needs no list of nodes. The graph is recorded while the forward pass runs, and where a value
# was used twice its gradients are added before the engine goes on.

# %%
leaves = {"W1": torch.tensor(params["0.weight"], requires_grad=True),
          "W2": torch.tensor(params["2.weight"], requires_grad=True)}  # fmt: skip
b1, b2 = torch.tensor(params["0.bias"]), torch.tensor(params["2.bias"])
t_first = torch.tensor(X) @ leaves["W1"].T + b1
t_z = (t_first + torch.tanh(t_first)) @ leaves["W2"].T + b2
t_loss = nn.functional.binary_cross_entropy_with_logits(t_z, torch.tensor(Y))
grad_fn_table(
    t_loss,
    branched,
    [
        ("BinaryCrossEntropyWithLogits", "dz = (1 / (1 + np.exp(-z)) - y) / len(x)"),
        ("Add", "(the bias: dz goes on as it is)"),
        ("Mm", "dz.T @ total", "dtotal = dz @ W2"),
        ("Permute", "(W2 was transposed)"),
        ("AccumulateGrad", '"out.weight": dz.T @ total'),
        ("Add", "dtotal + dtotal"),
        ("Tanh", "dtotal * (1 - second * second)"),
        ("Add", "(the bias)"),
        ("Mm", "dfirst.T @ x"),
        ("Permute", "(W1 was transposed)"),
        ("AccumulateGrad", '"first.weight": dfirst.T @ x'),
    ],
    leaves,
)
t_loss.backward()
by_torch = {"first.weight": leaves["W1"].grad, "out.weight": leaves["W2"].grad}
same_all({name: ours[name] for name in by_torch}, by_torch,
         gauged(branched, X, Y, *params.values()))  # fmt: skip

# %% [markdown]
# ## Your turn
#
# **An exercise.** A layer whose input goes three ways.
#
# ```sh
# handgrad exercise start batch_norm
# handgrad exercise grade batch_norm.py
# ```
#
# **On paper.** Name the three parts of the students' learner of lesson 8.
#
# <details><summary>Answer</summary>
#
# The hypothesis is the 2-4-1 network with sigmoids, the loss is the mean cross-entropy, the
# optimiser is gradient descent.
#
# </details>
#
# **Find the mistake.** Somebody's `batch_norm` has this piece of code. How would you see it in a
# batch of one?
#
# ```python
# dbeta = dout.mean(axis=0)
# ```
#
# <details><summary>Answer</summary>
#
# You would not: a sum over one row is its mean. $\beta$ is used by every row, and the shares add.
#
# </details>
