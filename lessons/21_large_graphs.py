# %% [markdown]
# # 21 · Two large graphs: AlexNet and the Neural Turing Machine
#
# The lecture shows two networks whose graphs fill a wall: a convolutional network, and a machine
# that learns to use a memory. By now each of their nodes is known. We walk through both, node by
# node, forward and backward, and find every gradient beside torch's.

# %% tags=["hide-input"]
from collections import Counter

import numpy as np
import torch

from compare.description.config import load
from compare.running.experiment import prepare
from teach.kit import (
    code_diff,
    figure,
    gauged,
    grad_fn_table,
    gradients,
    network,
    same_all,
    table,
)

# %% [markdown]
# ## AlexNet
#
# Five convolutions, three poolings, three linear layers (Krizhevsky, Sutskever and Hinton, 2012).
# In the preset `alexnet` it is narrow, 8 to 24 channels where the original has 64 to 384, and looks
# at digits that are enlarged to $63 \times 63$ pixels. The graph is a chain:

# %%
alexnet = prepare(load("alexnet", {}))
graph = alexnet.manual.graph
network(graph, "AlexNet: no node that the lessons have not shown")
print(Counter(type(node.layer).__name__ for node in graph.nodes))

# %% [markdown]
# ## Forward: the shapes
#
# Follow two pictures. Each convolution turns what it sees into channels, each pooling makes the
# picture smaller; at the end there are numbers without a place, and ten scores.

# %%
x, y = alexnet.rows(np.arange(2))
weights = alexnet.weights
tape = graph.with_params(weights).run(x)
learned = {node.name: sum(p.size for p in node.layer.params.values()) for node in graph.nodes}
table(
    {
        "node": [node.name for node in graph.nodes],
        "layer": [type(node.layer).__name__ for node in graph.nodes],
        "shape": [" × ".join(map(str, tape.values[node.name].shape)) for node in graph.nodes],
        "parameters": [learned[node.name] for node in graph.nodes],
    }
)
assert tape.output.shape == (2, 10)

# %% [markdown]
# Where are the parameters? In the original almost all are in the three linear layers, although the
# convolutions do most of the work: a kernel's weight is used at every place, a linear weight once.

# %%
convolutions = [(3, 64, 11), (64, 192, 5), (192, 384, 3), (384, 256, 3), (256, 256, 3)]
linears = [(256 * 6 * 6, 4096), (4096, 4096), (4096, 1000)]
in_convolutions = sum(i * o * k * k + o for i, o, k in convolutions)
in_linears = sum(i * o + o for i, o in linears)
print(f"in the original: {in_convolutions:,} in convolutions, {in_linears:,} in linear layers")
assert in_convolutions + in_linears == 61_100_840  # as torchvision's
assert in_linears / (in_convolutions + in_linears) > 0.95
assert sum(learned.values()) == 35_250

# %% [markdown]
# ## Backward: the same way, in reverse
#
# From the ten scores back to the pixels, each node's `backward` once. Here is the size of what
# arrives at each convolution and linear layer, and all gradients beside torch's.


# %%
def beside_torch(experiment, x, y, name):
    """Loss gradients of all parameters: manual's, compared with those of the torch side."""
    graph, loss, weights = experiment.manual.graph, experiment.manual.loss, experiment.weights
    ours, error = (run(graph, loss, weights, x, y) for run in
                   (gradients, lambda *a: gauged(gradients, *a)))  # fmt: skip
    side = experiment.torch
    side.load(weights)
    side.network.train(False)  # no dropout: both sides as in evaluation
    side.forward_backward(side.tensor(x), side.tensor(y))
    theirs = side.grads()
    same_all({n: ours[n] for n in theirs}, theirs, error, name=name)
    return ours


found = beside_torch(alexnet, x, y, "all parameters of AlexNet")
loss_cache = alexnet.manual.loss.forward(tape.output, y)[1]
(upstream, *_), _ = alexnet.manual.loss.backward(1.0, loss_cache)
arrived = graph.with_params(weights).gradients(tape, upstream).values
shown = [node.name for node in graph.nodes if node.name in arrived and learned[node.name]]
with figure("What arrives at each layer with weights, from the scores (right) to the pixels",
            xlabel="layer", ylabel="‖dL/dy‖", yscale="log", steps=True) as axes:  # fmt: skip
    axes.plot(range(1, len(shown) + 1), [np.linalg.norm(arrived[n]) for n in shown], "o-")
table({"layer": shown, "‖dL/dy‖": [float(np.linalg.norm(arrived[n])) for n in shown]})
assert len(shown) == 8

# %% [markdown]
# ## The Neural Turing Machine
#
# A controller (here an LSTM) has a **memory** $M$, a table with a row for each place (Graves, Wayne
# and Danihelka, 2014). At each step it reads and writes. It cannot name a place, for a place has no
# slope. So it looks at *all* places, at each a little: with weights $w_i$ that add up to 1.
#
# - **Read**: the mean of the rows, $r_j = \sum_i w_i M_{ij}$.
# - **Write**: erase where the erase vector $e$ says so, then add $a$:
#   $M'_{ij} = M_{ij} (1 - w_i e_j) + w_i a_j$.
#
# Backward. $r_j$ has all $i$ in it, so $dM_{ij} = w_i\, dr_j$ and $dw_i = \sum_j dr_j M_{ij}$. And
# for the write, *which elements does each number change?* $w_i$ all of row $i$; $e_j$ and $a_j$ all
# of column $j$; $M_{ij}$ only one:
#
# $$\begin{aligned}
# dM_{ij} &= dM'_{ij} (1 - w_i e_j), & dw_i &= \sum_j dM'_{ij} (a_j - M_{ij} e_j) \\
# de_j &= -\sum_i dM'_{ij} M_{ij} w_i, & da_j &= \sum_i dM'_{ij} w_i
# \end{aligned}$$


# %%
def read(M, w, dr):
    r = w @ M  # (W,)
    dM = w[:, None] * dr[None, :]
    dw = M @ dr
    return {"out": r, "M": dM, "w": dw}


def write(M, w, e, a, dout):
    out = M * (1 - w[:, None] * e) + w[:, None] * a  # (places, W)
    dM = dout * (1 - w[:, None] * e)
    dw = (dout * (a - M * e)).sum(axis=1)
    de = -(dout * M * w[:, None]).sum(axis=0)
    da = (dout * w[:, None]).sum(axis=0)
    return {"out": out, "M": dM, "w": dw, "e": de, "a": da}


rng = np.random.default_rng(21)
places, width = 5, 3
M, w = rng.normal(size=(places, width)), rng.dirichlet(np.ones(places))
e, a = rng.uniform(size=width), rng.normal(size=width)
dr, dout = rng.normal(size=width), rng.normal(size=(places, width))


def by_torch(function, upstream, **arrays):
    leaves = {n: torch.tensor(v, requires_grad=True) for n, v in arrays.items()}
    out = function(**leaves)
    out.backward(torch.tensor(upstream))
    return out, leaves


r, r_leaves = by_torch(lambda M, w: w @ M, dr, M=M, w=w)
t_out, w_leaves = by_torch(lambda M, w, e, a: M * (1 - w[:, None] * e) + w[:, None] * a,
                           dout, M=M, w=w, e=e, a=a)  # fmt: skip
for name, ours, theirs, error in (
    ("read", read(M, w, dr), (r, r_leaves), gauged(read, M, w, dr)),
    ("write", write(M, w, e, a, dout), (t_out, w_leaves), gauged(write, M, w, e, a, dout)),
):
    out, leaves = theirs
    same_all(ours, {"out": out, **{n: leaf.grad for n, leaf in leaves.items()}}, error, name=name)

# %% [markdown]
# In `manual` these are the layers `MemoryRead`, `MemoryErase` and `MemoryAdd`. Where to look is
# found in four stages, each with a slope: compare a key with every row (as attention does), mix
# with the weights of the step before (a gate), shift by a place, sharpen. That makes one step:

# %%
ntm = prepare(load("ntm", {}))
graph = ntm.manual.graph
network(graph, "The Neural Turing Machine: each box is used at every step", fold=True)
steps = max(int(node.name.partition("@")[2] or 0) for node in graph.nodes) + 1
per_step = Counter(node.name.partition("@")[2] for node in graph.nodes)
print(f"{len(graph.nodes)} nodes: {per_step['1']} in each of {steps} steps")
assert per_step["1"] == per_step["2"] == 42

# %% [markdown]
# The picture folds the time. Unrolled, the memory of each step is the result of the step before, so
# the gradient goes back through all of them; and each weight is used once in every step, so its
# gradient is a sum (lesson 4). That is all that is new here, which is nothing.

# %%
x, y = ntm.rows(np.arange(2))
found = beside_torch(ntm, x, y, "all parameters of the Neural Turing Machine")
names = ["controller", "writer", "reader", "memory"]
size = {n: float(np.sqrt(sum((g**2).sum() for k, g in found.items() if k.startswith(n))))
        for n in names}  # fmt: skip
table({"part": names, "‖gradient of its parameters‖": list(size.values())})
assert all(length > 0 for length in size.values())

# %% [markdown]
# Both learn beside torch, step by step: `handgrad run alexnet`, `handgrad run ntm`.
#
# ## What changed in the code
#
# From reading to writing: two more inputs, and each gets a sum over what it changed.

# %%
code_diff(read, write, names=("read", "write"))

# %% [markdown]
# ## What torch now does for you
#
# It records the write as the gates that it is made of. $w$ is used twice, and its shares are added.

# %%
grad_fn_table(
    t_out,
    write,
    [
        ("Add", "(dout goes both ways)"),
        ("Mul", "da = (dout * w[:, None]).sum(axis=0)"),
        ("AccumulateGrad", "(the gradient of a)"),
        ("Unsqueeze", "dw = (dout * (a - M * e)).sum(axis=1)"),
        ("Mul", "dM = dout * (1 - w[:, None] * e)"),
        ("AccumulateGrad", "(the gradient of M)"),
        ("RsubBackward1", "(1 - …: the sign turns)"),
        ("Mul", "de = -(dout * M * w[:, None]).sum(axis=0)"),
        ("AccumulateGrad", "(the gradient of e)"),
        ("Unsqueeze", "(the other share of w)"),
        ("AccumulateGrad", "(the gradient of w)"),
    ],
    w_leaves,
)

# %% [markdown]
# ## Your turn
#
# **An exercise.** A node of AlexNet.
#
# ```sh
# handgrad exercise start max_pool
# handgrad exercise grade max_pool.py
# ```
#
# **On paper.** A picture of $63 \times 63$ and a kernel of $11 \times 11$ with stride 4 and
# padding 2: how many outputs in a row?
#
# <details><summary>Answer</summary>
#
# $\lfloor (63 + 4 - 11) / 4 \rfloor + 1 = 15$.
#
# </details>
#
# **Find the mistake.** Somebody's `max_pool` has this piece of code. Of which layer is it the
# gradient?
#
# ```python
# dwindows += dout[..., None] / 4
# ```
#
# <details><summary>Answer</summary>
#
# Of average pooling. In max pooling the winner gets all of it.
#
# </details>
