# %% [markdown]
# # 4 · Branches add
#
# A value that is used twice changes the result in two ways. Its gradient is the sum of both.
# Forgetting to add is among the most common mistakes in a hand-written backward pass, and the
# rule is behind every sum over a batch and every shared weight.

# %% tags=["hide-input"]
import copy

import numpy as np
import torch

from manual.expression import tanh, variables
from manual.gates import AddGate, MultiplyGate
from manual.graph import Gradients, Graph
from teach.kit import (
    code_diff,
    code_of,
    drawing_of,
    gauged,
    grad_fn_table,
    same,
    same_all,
    show,
    table,
)
from teach.trace.drawing import to_svg
from teach.trace.show import conclusion
from teach.trace.tracer import trace

# %% [markdown]
# ## One value, two ways to the result
#
# In $f = x y + (x + z)\, w$ the input $x$ feeds two gates, $q_1 = x y$ and $q_2 = x + z$.

# %%
point = {"x": 2.0, "y": 3.0, "z": -1.0, "w": 4.0}
branch = trace("x*y + (x + z)*w", point)
drawing_of(to_svg(branch), "x feeds two gates, and two gradients come back: 3 and 4")

# %% [markdown]
# Nudge $x$ by $\Delta$. Through $q_1$ that changes $f$ by $y \Delta = 3 \Delta$, through $q_2$ by
# $w \Delta = 4 \Delta$, and both changes happen: $7 \Delta$. In general,
#
# $$\frac{\partial f}{\partial x} = \sum_i \frac{\partial f}{\partial q_i} \cdot
# \frac{\partial q_i}{\partial x}$$


# %%
def f(x, y, z, w):
    return x * y + (x + z) * w


nudged = f(**{**point, "x": point["x"] + 1}) - f(**point)
shares = {step.edge.node.name: step.gradient.manual for step in branch.steps
          if step.edge.source == "x"}  # fmt: skip
table(
    {
        "through": ["`x * y`", "`x + z`", "their sum"],
        "∂f/∂q_i · ∂q_i/∂x": [float(s) for s in (shares["q1"], shares["q2"], sum(shares.values()))],
    }
)
same("the sum of both shares", sum(shares.values()), 7.0)
same("f is linear in x: a nudge by 1 changes it by", nudged, 7.0)
same("∂f/∂x by the trace", branch.gradients["x"].manual, branch.gradients["x"].torch)

# %% [markdown]
# ## Why they add
#
# Give the two uses different names. Now there is no branch, and each copy has its own gradient.
# Setting both copies to $x$ moves both at once, so their gradients add.

# %%
apart = trace("x1*y + (x2 + z)*w", {"x1": 2.0, "x2": 2.0, "y": 3.0, "z": -1.0, "w": 4.0})
copies = {name: apart.gradients[name].manual for name in ("x1", "x2")}
same_all(copies, {"x1": 3.0, "x2": 4.0})
same("both copies together", copies["x1"] + copies["x2"], branch.gradients["x"].manual)

# %% [markdown]
# The same holds if the branch is inside the graph, and if a gate takes a value twice. In
# $f = x \cdot x$ the mul gate sends $x$ back along both of its inputs, which makes $2x$.

# %%
square = trace("x * x", {"x": 3.0})
drawing_of(to_svg(square), "A gate that takes x twice: 3 + 3 = 6")
same("∂(x·x)/∂x at 3", square.gradients["x"].manual, 6.0)

# %% [markdown]
# ## The mistake
#
# The graph of lesson 3 stores each gradient where it arrives. At a branch the second one
# **overwrites** the first. We plant this mistake in `manual`'s graph, and look at the trace.


# %%
class Overwriting(Graph):
    def gradients(self, tape, grad_output, *, wrt=()):
        grads = {self.output: grad_output}
        for name, layer, inputs in reversed(self.nodes):
            shares, _ = layer.backward(grads[name], tape.caches[name])
            for source, share in zip(inputs, shares, strict=True):
                grads[source] = share
        return Gradients(grads, {})


def with_the_mistake(expression):
    broken = copy.copy(expression)
    broken.graph = Overwriting(expression.graph.nodes, expression.graph.inputs)
    return broken


def sums(found):
    """Where a value branches, its shares; and what each input's gradient came to."""
    arrived = {}
    for step in found.steps:
        arrived.setdefault(step.edge.source, []).append(f"{step.gradient.manual:g}")
    labels = found.expression.labels
    table(
        {
            "gradient of": [f"`{labels[name]}`" for name in found.sums],
            "shares": [", ".join(arrived[name]) for name in found.sums],
            "manual": [float(both.manual) for both in found.sums.values()],
            "torch": [float(both.torch) for both in found.sums.values()],
            "verdict": [both.verdict for both in found.sums.values()],
        }
    )


broken = trace(with_the_mistake(branch.expression))
sums(broken)
show(conclusion(broken))
assert broken.verdict == "disagree"
assert [name for name, both in broken.sums.items() if both.verdict == "disagree"] == ["x"]
same("what is left of ∂f/∂x", broken.sums["x"].manual, 3.0)

# %% [markdown]
# The shares that arrived are right, 4 and 3, and so is every other gradient. Only the sum is
# wrong: it is the share that came last. That is the mark of this mistake. Without a branch it does
# not show, so a test on a graph without one finds nothing.
#
# If the value in the middle of a graph branches, all that lies below is wrong with it. In
# $f = q\,(q + z)$ with $q = x y$ the shares of $q$ are $q + z$ and $q$, here 5 and 6.

# %%
x, y, z = variables("x y z")
q = x * y
inner = trace(q * (q + z), {"x": 2.0, "y": 3.0, "z": -1.0})
drawing_of(to_svg(inner), "x · y is computed once and used twice: 5 + 6 = 11 comes back to it")
sums(inner)
numbers = {n: inner.sums[n].manual for n in ("q1", "x", "y")}
same_all(numbers, {"q1": 11.0, "x": 33.0, "y": 22.0}, name="11, 33 and 22")

broken = trace(with_the_mistake(inner.expression))
sums(broken)
numbers = {n: broken.sums[n].manual for n in ("q1", "x", "y")}
same_all(numbers, {"q1": 6.0, "x": 18.0, "y": 12.0}, name="with the mistake, 6, 18 and 12")

# %% [markdown]
# Of 11 only the last 6 is left, and $x$ and $y$ get $6y = 18$ and $6x = 12$.
#
# ## Every sample uses the same weight
#
# A weight is a value that branches: each sample of a batch uses it. That is where the **sum over
# the batch** in every weight's gradient comes from. With $L = \sum_n \frac{1}{2}(w x_n - y_n)^2$,
#
# $$\frac{\partial L}{\partial w} = \sum_n (w x_n - y_n)\, x_n$$

# %%
rows = {"a": 1.0, "b": 2.0, "c": -1.0}  # three samples x_n, with targets y_n = 2, 1 and 3
batch = trace("0.5 * ((w*a - 2)**2 + (w*b - 1)**2 + (w*c - 3)**2)", {"w": 1.5, **rows})
drawing_of(to_svg(batch), "One weight, three samples: w branches three times")
by_row = [(1.5 * x_n - y_n) * x_n for x_n, y_n in zip(rows.values(), (2.0, 1.0, 3.0), strict=True)]
arrived = [float(step.gradient.manual) for step in batch.steps if step.edge.source == "w"]
same("the three shares of w", sorted(arrived), sorted(by_row))
same("∂L/∂w", batch.gradients["w"].manual, sum(by_row))

# %% [markdown]
# ## A weight shared over time
#
# A recurrent network uses one weight at each step, $h_t = \tanh(w h_{t-1} + x_t)$. Untie it: give
# each step a weight of its own. Their gradients are the shares, and the shared weight's gradient
# is their sum.


# %%
def unrolled(weights):
    """h_3, with the weight of each step; they may all be the same one."""
    h = variables("h0")[0]
    for weight, x_t in zip(weights, variables("x1 x2 x3"), strict=True):
        h = tanh(weight * h + x_t)
    return h


given = {"h0": 0.5, "x1": 0.3, "x2": -0.2, "x3": 0.1}
w = variables("w")[0]
shared = trace(unrolled([w, w, w]), {"w": 0.8, **given})
untied = trace(unrolled(variables("w1 w2 w3")), {"w1": 0.8, "w2": 0.8, "w3": 0.8, **given})
drawing_of(to_svg(shared), "Three steps through time, one weight")
own = [untied.gradients[name].manual for name in ("w1", "w2", "w3")]
table(
    {
        "": ["`w1`, first step", "`w2`", "`w3`, last step", "their sum", "`w`, shared"],
        "gradient": [*map(float, own), float(sum(own)), float(shared.gradients["w"].manual)],
    }
)
assert shared.agrees
assert untied.agrees

# %% [markdown]
# The same by hand: one loop forward, one back, and `dw` collects a share at each step.


# %%
def through_time(w, h0, x1, x2, x3):
    h = [h0]
    for x_t in (x1, x2, x3):
        h.append(np.tanh(w * h[-1] + x_t))
    dw, dh = 0.0, 1.0
    for t in (3, 2, 1):
        dz = dh * (1 - h[t] ** 2)
        dw = dw + dz * h[t - 1]
        dh = dz * w
    return {"w": dw, "h0": dh}


numbers = [np.array(value) for value in (0.8, *given.values())]
by_hand, rounding = through_time(*numbers), gauged(through_time, *numbers)
same("by hand, and the sum of the untied gradients", by_hand["w"], sum(own), rounding["w"])
same_all(by_hand, {name: shared.gradients[name].manual for name in ("w", "h0")}, rounding)

# %% [markdown]
# ## A weight shared over places
#
# A convolutional network uses the same few weights at every place of its input,
# $y_t = \sum_k w_k\, x_{t+k}$. So each $w_k$ collects a share from every place $t$, and each number
# $x_s$ one from every output that it is part of, $s = t + k$:
#
# $$\frac{\partial L}{\partial w_k} = \sum_t \frac{\partial L}{\partial y_t}\, x_{t+k}, \qquad
# \frac{\partial L}{\partial x_s} = \sum_k \frac{\partial L}{\partial y_{s-k}}\, w_k$$


# %%
def convolution(x, w, dy):
    K = len(w)
    y = np.stack([np.sum(x[t : t + K] * w) for t in range(len(dy))])
    dw, dx = 0 * w, 0 * x
    for t in range(len(dy)):
        dw = dw + dy[t] * x[t : t + K]
        dx[t : t + K] += dy[t] * w
    return {"y": y, "w": dw, "x": dx}


rng = np.random.default_rng(2)
line, kernel, upstream = (rng.normal(size=n) for n in (9, 3, 7))
t_line, t_kernel = (torch.tensor(a, requires_grad=True) for a in (line, kernel))
t_y = torch.nn.functional.conv1d(t_line[None, None], t_kernel[None, None])[0, 0]
t_y.backward(torch.tensor(upstream))
same_all(convolution(line, kernel, upstream), {"y": t_y, "w": t_kernel.grad, "x": t_line.grad},
         gauged(convolution, line, kernel, upstream), name="3 weights at 7 places")  # fmt: skip

# %% [markdown]
# ## What changed in the code
#
# One line of lesson 3's graph: what arrives is added to what is there. `Gate` lets any of
# `manual`'s gates stand in it.


# %%
class Gate:
    def __init__(self, layer):
        self.layer = layer

    def forward(self, *inputs):
        output, self.cache = self.layer.forward(*inputs)
        return output

    def backward(self, grad_output):
        return self.layer.backward(grad_output, self.cache)[0]


class ComputationalGraph:
    def __init__(self, nodes):
        self.nodes = nodes  # (output, gate, inputs), in topological order

    def forward(self, **values):
        for output, gate, inputs in self.nodes:
            values[output] = gate.forward(*(values[name] for name in inputs))
        return values

    def backward(self):
        grads = {self.nodes[-1][0]: 1.0}
        for output, gate, inputs in reversed(self.nodes):
            for name, grad in zip(inputs, gate.backward(grads[output]), strict=True):
                grads[name] = grads.get(name, 0.0) + grad
        return grads


graph = ComputationalGraph(
    [
        ("q1", Gate(MultiplyGate()), ["x", "y"]),
        ("q2", Gate(AddGate()), ["x", "z"]),
        ("q3", Gate(MultiplyGate()), ["q2", "w"]),
        ("f", Gate(AddGate()), ["q1", "q3"]),
    ]
)
same("f", graph.forward(**point)["f"], f(**point))
found = graph.backward()
same_all({n: found[n] for n in point}, {n: both.torch for n, both in branch.gradients.items()})
code_diff(
    code_of("03_gates", "ComputationalGraph"), ComputationalGraph, names=("lesson 3", "lesson 4")
)

# %% [markdown]
# ## What torch now does for you
#
# It adds wherever a value branches. Of the shared weight there is one `AccumulateGrad`, which waits
# until the shares of all three steps have come together.

# %%
leaves = {n: torch.tensor(v, dtype=torch.float64, requires_grad=True)
          for n, v in (("w", 0.8), ("h0", 0.5))}  # fmt: skip
t_h = leaves["h0"]
for x_t in (0.3, -0.2, 0.1):
    t_h = torch.tanh(leaves["w"] * t_h + x_t)
one_step = [
    ("Tanh", "dz = dh * (1 - h[t] ** 2)"),
    ("Add", "(x_t is data: dz goes on as it is)"),
    ("Mul", "dw = dw + dz * h[t - 1]", "dh = dz * w"),
]
grad_fn_table(
    t_h,
    through_time,
    [*one_step * 3, ("AccumulateGrad", '"w": dw'), ("AccumulateGrad", '"h0": dh')],
    leaves,
)
t_h.backward(retain_graph=True)
same_all(by_hand, {name: leaf.grad for name, leaf in leaves.items()}, rounding)

# %% [markdown]
# `AccumulateGrad` adds to what `.grad` already holds. So a second `backward()` **adds** again, as
# if the loss had branched: clear the gradients before each step (`optimizer.zero_grad()`).

# %%
once = leaves["w"].grad.clone()
t_h.backward()
same("w.grad after a second backward()", leaves["w"].grad, 2 * once)

# %% [markdown]
# ## Your turn
#
# **An exercise.** A neuron for many rows: its weight branches to all of them.
#
# ```sh
# handgrad exercise start sigmoid_chain
# handgrad exercise grade sigmoid_chain.py
# ```
#
# **On paper.** $f = x y + x z + x$ at $y = 2$, $z = 3$. Three branches: what is $\partial f /
# \partial x$?
#
# <details><summary>Answer</summary>
#
# $2 + 3 + 1 = 6$: a share from each branch, and they add.
#
# </details>
#
# **Find the mistake.** Somebody's `sigmoid_chain` has this piece of code. Why does a test with
# one row not find it?
#
# ```python
# db = dz.mean()
# ```
#
# <details><summary>Answer</summary>
#
# Shares add, they are not averaged. Of one row the sum and the mean are the same.
#
# </details>
