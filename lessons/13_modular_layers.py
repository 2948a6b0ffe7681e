# %% [markdown]
# # 13 · Modular layers: the same network from parts
#
# A network's backward pass need not be written again for each network. Give every layer two
# functions, forward and backward, and a loop does the rest. We look at such layers, at the contract
# that they keep, and build the students' network from them.

# %% tags=["hide-input"]
import numpy as np
import torch
from torch import nn

import manual
from compare.description.data.datasets import make
from compare.description.data.scaling import scale
from teach.kit import (
    code_diff,
    code_of,
    gauged,
    grad_fn_table,
    same,
    same_all,
    show,
    table,
    torch_gradients,
)
from teach.kit.diff import source_of

# %%
students = make("students", {})
X = scale(students.features, "standard")  # (N, 2): a row is a sample
Y = students.labels[:, None].astype(float)  # (N, 1)
N = len(X)
rng = np.random.default_rng(9)

# %% [markdown]
# ## A layer of Caffe
#
# Caffe, a framework of 2014, keeps its layers in a folder, one to a file, and every layer has two
# functions, forward and backward. A layer reads from its **bottom** and writes to its **top**;
# `data` flows up, `diff` (the gradient of the loss) flows down. This is its `SigmoidLayer`, in
# Python:
#
# $$\text{bottom diff} = \text{top diff} \cdot \sigma \, (1 - \sigma)$$


# %%
class SigmoidLayer:
    def forward(self, bottom_data):
        top_data = np.zeros_like(bottom_data)
        for i in range(len(bottom_data)):
            top_data[i] = 1.0 / (1.0 + np.exp(-bottom_data[i]))
        return top_data

    def backward(self, top_data, top_diff):
        bottom_diff = np.zeros_like(top_data)
        for i in range(len(top_data)):
            sigmoid_x = top_data[i]
            bottom_diff[i] = top_diff[i] * sigmoid_x * (1.0 - sigmoid_x)
        return bottom_diff


def there_and_back(layer, x, dy):
    """A layer of `manual`: the output for x, and the gradient of x for the upstream dy."""
    y, cache = layer.forward(x)
    (dx,), _ = layer.backward(dy, cache)
    return {"top data": y, "bottom diff": dx}


def by_torch(function, x, dy):
    x = torch.tensor(x, requires_grad=True)
    y = function(x)
    y.backward(torch.tensor(dy))
    return {"top data": y, "bottom diff": x.grad}


x, dy = rng.normal(size=6), rng.normal(size=6)
top = SigmoidLayer().forward(x)
caffe = {"top data": top, "bottom diff": SigmoidLayer().backward(top, dy)}
rounding = gauged(there_and_back, manual.Sigmoid(), x, dy)
same_all(there_and_back(manual.Sigmoid(), x, dy), caffe, rounding)
same_all(by_torch(torch.sigmoid, x, dy), caffe, rounding, name="torch")

# %% [markdown]
# Other files of that folder: absval, batch_norm, bias, bnll, concat, contrastive_loss, conv, crop,
# deconv, dropout, eltwise, elu, embed, euclidean_loss, exp, and more. Each is such a pair. Here are
# six that work element by element, with Caffe's formula for the backward pass, beside `manual`'s
# layer and torch's function.

# %%
caffe_lines = {
    "exp": lambda x, y, top_diff: top_diff * y,
    "tanh": lambda x, y, top_diff: top_diff * (1 - y * y),
    "relu": lambda x, y, top_diff: top_diff * (x > 0),
    "elu": lambda x, y, top_diff: top_diff * ((x > 0) + (1 + y) * (x <= 0)),
    "bnll": lambda x, y, top_diff: top_diff * np.exp(x) / (1 + np.exp(x)),
    "sigmoid": lambda x, y, top_diff: top_diff * y * (1 - y),
}
twins = {
    "exp": (manual.ExpGate(), torch.exp),
    "tanh": (manual.Tanh(), torch.tanh),
    "relu": (manual.ReLU(), torch.relu),
    "elu": (manual.ELU(), nn.functional.elu),
    "bnll": (manual.Softplus(), nn.functional.softplus),
    "sigmoid": (manual.Sigmoid(), torch.sigmoid),
}


def six_layers(x, dy):
    return {name: there_and_back(layer, x, dy) for name, (layer, _) in twins.items()}


def diffs(found):
    return {name: one["bottom diff"] for name, one in found.items()}


six, errors = six_layers(x, dy), diffs(gauged(six_layers, x, dy))
caffe = {name: line(x, six[name]["top data"], dy) for name, line in caffe_lines.items()}
same_all(diffs(six), caffe, errors)
torchs = {name: by_torch(function, x, dy) for name, (_, function) in twins.items()}
same_all(diffs(six), diffs(torchs), errors, name="the same six, torch")

# %% [markdown]
# A layer with several bottoms hands a gradient to each: concat, and eltwise as a sum and as a
# product. euclidean_loss is $\frac{1}{2N} \sum (a - b)^2$, and dropout multiplies by a random mask.
# (A conv is in lesson 4, a bias in `Linear` below, and batch_norm is one of the exercises.)

# %%
a, b = rng.normal(size=(2, 4, 3))
mask = rng.random((4, 3)) > 0.5
twos = {
    "concat": (manual.Concatenate(), lambda a, b: torch.cat([a, b], dim=-1), b),
    "eltwise, sum": (manual.Add(), torch.add, b),
    "eltwise, product": (manual.Multiply(), torch.mul, b),
    "euclidean_loss": (
        manual.SquaredErrorLoss(factor=0.5, reduction="mean"),
        lambda a, b: (a - b).square().sum() / (2 * len(a)),
        b,
    ),
    "dropout": (manual.Dropout(0.5), lambda a, mask: a * mask / 0.5, mask),
}


def two_bottoms(layer, a, b, top_diff):
    masked = isinstance(layer, manual.Dropout)
    top, cache = layer.forward(a, noise=b) if masked else layer.forward(a, b)
    return {"top data": top, **dict(zip("ab", layer.backward(top_diff, cache)[0], strict=False))}


for name, (layer, function, second) in twos.items():
    bottoms = {"a": torch.tensor(a, requires_grad=True), "b": torch.tensor(second)}
    if second is b:
        bottoms["b"].requires_grad_()
    t_top = function(*bottoms.values())
    top_diff = np.array(rng.normal(size=t_top.shape))
    t_top.backward(torch.tensor(top_diff))
    ours = two_bottoms(layer, a, second, top_diff)
    theirs = {"top data": t_top, **{n: bottom.grad for n, bottom in bottoms.items() if n in ours}}
    same_all(ours, theirs, gauged(two_bottoms, layer, a, second, top_diff), name=name)

# %% [markdown]
# ## The contract
#
# All layers of `manual` keep one contract:
#
# - `forward(x)` returns the output, and a **cache** of just what backward will need;
# - `backward(dy, cache)` returns the gradients of the inputs, and those of the parameters by name.
#
# Besides its cache and its parameters, backward needs only the gradient of its own output. It knows
# nothing of the loss or of its neighbours. `Linear` shows all of it, with its derivation:

# %%
show(source_of([manual.Linear.backward, manual.Linear.grad_params]))
linear = manual.Linear(2, 4)
linear = linear.with_params({"weight": rng.normal(size=(4, 2)), "bias": rng.normal(size=4)})
y, cache = linear.forward(X)
(dx,), own = linear.backward(np.ones_like(y), cache)
table(
    {
        "what": ["x", "y", "cache", "dx", "d weight", "d bias"],
        "shape": [
            X.shape,
            y.shape,
            ", ".join(f"{name} {value.shape}" for name, value in cache._asdict().items()),
            dx.shape,
            own["weight"].shape,
            own["bias"].shape,
        ],
    }
)
assert dx.shape == X.shape
assert all(own[name].shape == p.shape for name, p in linear.params.items())

# %% [markdown]
# Why return the cache, and not keep it on the layer? Because a layer may run **twice** before
# backward, as in a recurrent network. A layer that stores its output then remembers the last one
# only, and its first gradient is silently wrong.


# %%
class Forgetful:
    def forward(self, x):
        self.y = 1 / (1 + np.exp(-x))
        return self.y

    def backward(self, dy):
        return dy * self.y * (1 - self.y)


once, again = rng.normal(size=4), rng.normal(size=4)
upstream = np.ones(4)
layer = Forgetful()
layer.forward(once)
layer.forward(again)
stored = layer.backward(upstream)  # meant for the first run

sigmoid = manual.Sigmoid()
_, first_cache = sigmoid.forward(once)
sigmoid.forward(again)
(with_cache,), _ = sigmoid.backward(upstream, first_cache)

right, other = (by_torch(torch.sigmoid, x, upstream)["bottom diff"] for x in (once, again))
table({"torch": right, "with a cache": with_cache, "stored": stored})
errors = [gauged(there_and_back, sigmoid, x, upstream)["bottom diff"] for x in (once, again)]
same("with a cache: the gradient of the first run", with_cache, right, errors[0])
same("stored on the layer: that of the second", stored, other, errors[1])
assert abs(stored - right.numpy()).max() > 0.01

# %% [markdown]
# ## The loop that does the rest
#
# Forward in order, backward in reverse, and each layer's gradient goes to the layer below. This is
# the whole of it for a chain; `manual.Sequential` does the same.


# %%
class ComputationalGraph:
    def __init__(self, *layers):
        self.layers = layers

    def forward(self, x):
        caches = []
        for layer in self.layers:
            x, cache = layer.forward(x)
            caches.append(cache)
        return x, caches

    def backward(self, dy, caches):
        grads = {}
        for i in reversed(range(len(self.layers))):
            (dy,), own = self.layers[i].backward(dy, caches[i])
            grads |= {f"{i}.{name}": grad for name, grad in own.items()}
        return grads


params = {
    "0.weight": rng.normal(size=(4, 2)),
    "0.bias": rng.normal(size=4),
    "2.weight": rng.normal(size=(1, 4)),
    "2.bias": rng.normal(size=1),
}


def students_network():
    linear, last = manual.Linear(2, 4), manual.Linear(4, 1)
    return manual.Sequential(linear, manual.Sigmoid(), last, manual.Sigmoid()), manual.BCELoss()


network, loss = students_network()


def by_our_loop(params, x, y):
    graph = ComputationalGraph(*(node.layer for node in network.with_params(params).nodes))
    output, caches = graph.forward(x)
    value, cache = loss.forward(output, y)
    (grad_output, *_), _ = loss.backward(1.0, cache)
    return {"loss": value, **graph.backward(grad_output, caches)}


def by_manual(params, x, y):
    tape = network.with_params(params).run(x)
    value, cache = loss.forward(tape.output, y)
    (grad_output, *_), _ = loss.backward(1.0, cache)
    return {"loss": value, **network.with_params(params).gradients(tape, grad_output).params}


rounding = gauged(by_manual, params, X, Y)
same_all(by_our_loop(params, X, Y), by_manual(params, X, Y))

# %% [markdown]
# It is the students' network of lesson 8, whose functions fitted no other network. We run those
# very functions, and compare. (Their weights are ours transposed. Their output error was collapsed
# to $\hat{Y} - Y$; here the loss and the sigmoid each do their own part.)

# %%
lesson_8 = {"np": np, "N": N}
exec(code_of("08_students", "sigmoid", "forward", "backward", "loss_and_gradients"), lesson_8)
before = lesson_8["loss_and_gradients"](
    X,
    Y,
    {f"{kind}{l}": params[f"{2 * l - 2}.{name}"].T for l in (1, 2)
     for kind, name in (("W", "weight"), ("b", "bias"))},
)  # fmt: skip
same_all(
    by_manual(params, X, Y),
    {
        "loss": before["J"],
        **{f"{2 * l - 2}.weight": before[f"W{l}"].T for l in (1, 2)},
        **{f"{2 * l - 2}.bias": before[f"b{l}"] for l in (1, 2)},
    },
    rounding,
)

# %% [markdown]
# ## What changed in the code
#
# Lesson 8 wrote one function for one network. Now the network is a list of layers, and the
# functions fit every network.

# %%
code_diff(
    code_of("08_students", "forward", "backward", "loss_and_gradients"),
    [students_network, by_manual],
    names=("lesson 8", "layers"),
)

# %% [markdown]
# ## What torch now does for you
#
# The same, with a recording in place of the list: `grad_fn` is the layer's backward, its saved
# tensors are our cache, and `next_functions` says where the gradient goes next. Beside each node
# stands the line of the layer that does its work.

# %%
model = nn.Sequential(nn.Linear(2, 4), nn.Sigmoid(), nn.Linear(4, 1), nn.Sigmoid())
theirs = torch_gradients(model, nn.BCELoss(), params, X, Y)
J = nn.BCELoss()(model(torch.tensor(X)), torch.tensor(Y))
linear_nodes = [
    ("AccumulateGrad", "(`bias.grad`)"),
    ("T", "(torch multiplies by the transposed weight)"),
    ("AccumulateGrad", "(`weight.grad`)"),
]
sigmoid_node = ("Sigmoid", "dx = grad_output * cache.y", "dx *= 1 - cache.y")
grad_fn_table(
    J,
    [
        manual.BCELoss.backward,
        manual.Sigmoid.backward,
        manual.Linear.backward,
        manual.Linear.grad_params,
    ],
    [
        ("BinaryCrossEntropy", "slope = (p - y) / np.maximum((1 - p) * p, SMALLEST_SLOPE)"),
        sigmoid_node,
        ("Addmm", "dy.sum(axis=0)", "dy.T @ x", 'grad_output @ self.params["weight"]'),
        *linear_nodes,
        sigmoid_node,
        ("Addmm", "dy.sum(axis=0)", "dy.T @ x", "(no dx: the data need no gradient)"),
        *linear_nodes,
    ],
    dict(model.named_parameters()),
)
saved = J.grad_fn.next_functions[0][0]._saved_result
_, sigmoid_cache = network.nodes[3].layer.forward(
    network.with_params(params).run(X).values[network.nodes[2].name]
)
same("the last sigmoid: torch's saved tensor and our cache", sigmoid_cache.y, saved,
     gauged(lambda p, x: network.with_params(p).run(x).output, params, X))  # fmt: skip
same_all(by_manual(params, X, Y), theirs, rounding)

# %% [markdown]
# ## Your turn
#
# **An exercise.** A layer's backward.
#
# ```sh
# handgrad exercise start relu
# handgrad exercise grade relu.py
# ```
#
# **On paper.** A layer $y = x^2$, element by element. What must its `forward` keep, and what does
# `backward` return?
#
# <details><summary>Answer</summary>
#
# It keeps $x$, and returns `dy * 2 * x`. (With $y$ alone, the sign of $x$ would be lost.)
#
# </details>
#
# **Find the mistake.** Somebody's `relu` has this piece of code. Which of the network's gradients
# are right all the same?
#
# ```python
# dout * (dout > 0)
# ```
#
# <details><summary>Answer</summary>
#
# The mask is made of the upstream gradient and not of the input. Those above this layer are
# right; all below are wrong.
#
# </details>
