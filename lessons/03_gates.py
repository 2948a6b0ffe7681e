# %% [markdown]
# # 3 · Gates and the chain rule
#
# Any formula is a graph of small gates. Each gate knows only its own derivative. Going backward,
# it multiplies that by the gradient that arrives from above, and hands the product on. That is
# all of backpropagation.

# %% tags=["hide-input"]
import numpy as np
import torch

from teach.kit import (
    code_diff,
    drawing_of,
    gauged,
    grad_fn_table,
    same,
    same_all,
    table,
)
from teach.trace.drawing import to_svg
from teach.trace.symbols import symbol
from teach.trace.tracer import trace

# %% [markdown]
# ## A first graph
#
# $f = (x + y)\, z$ at $x = -2$, $y = 5$, $z = -4$ has two gates: $q = x + y$ and $f = q z$.
# In the drawing, values stand above the edges and gradients below.

# %%
first = trace("(x + y) * z", {"x": -2.0, "y": 5.0, "z": -4.0})
drawing_of(to_svg(first), "f = (x + y) z: values run to the right, gradients to the left")

# %% [markdown]
# The way back starts at the end, with $\partial f / \partial f = 1$. At each gate
#
# $$\text{gradient of an input} = \text{local gradient} \times \text{upstream gradient}$$
#
# The **local** gradient is the gate's own derivative: $\partial f/\partial q = z = -4$ and
# $\partial f/\partial z = q = 3$ for the product, and 1 for both inputs of the sum. The
# **upstream** gradient is what has arrived: how $f$ changes with the gate's output. The chain rule
# is their product:
#
# $$\frac{\partial f}{\partial x} = \frac{\partial q}{\partial x} \cdot
# \frac{\partial f}{\partial q} = 1 \cdot (-4) = -4$$


# %%
def way_back(found):
    """A table of the way back, one edge to a row, beside what torch has at the same place."""
    steps, labels = found.steps, found.expression.labels
    table(
        {
            "gate": [symbol(step.edge.node.layer) for step in steps],
            "back to": [f"`{labels[step.edge.source]}`" for step in steps],
            "local": [float(step.local) for step in steps],
            "× upstream": [float(step.upstream) for step in steps],
            "= gradient": [float(step.gradient.manual) for step in steps],
            "torch": [float(step.gradient.torch) for step in steps],
        }
    )
    assert found.agrees


way_back(first)
by_trace = {name: found.manual for name, found in first.gradients.items()}
same("f", first.expression.value, -12.0)
same("q", first.expression.values["q1"], 3.0)
same_all(by_trace, {"x": -4.0, "y": -4.0, "z": 3.0})

# %% [markdown]
# ## A gate is a class with two methods
#
# `forward` computes and keeps what `backward` will need; `backward` multiplies. The graph visits
# its gates in order, and then in reverse.


# %%
class AddGate:
    def forward(self, x, y):
        return x + y

    def backward(self, dz):
        return dz, dz


class MultiplyGate:
    def forward(self, x, y):
        self.x, self.y = x, y  # kept for backward
        return x * y

    def backward(self, dz):
        dx = self.y * dz  # local × upstream
        dy = self.x * dz
        return dx, dy


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
                grads[name] = grad
        return grads


graph = ComputationalGraph([("q", AddGate(), ["x", "y"]), ("f", MultiplyGate(), ["q", "z"])])
values = graph.forward(x=-2.0, y=5.0, z=-4.0)
gradients = graph.backward()
same("f", values["f"], -12.0)
same_all({name: gradients[name] for name in "qxyz"}, {"q": -4.0, "x": -4.0, "y": -4.0, "z": 3.0})

# %% [markdown]
# ## Three patterns
#
# $f = (x y + \max(z, w)) \cdot 2$ at $x = 3$, $y = -4$, $z = 2$, $w = -1$.

# %%
third = trace("(x*y + max(z, w)) * 2", {"x": 3.0, "y": -4.0, "z": 2.0, "w": -1.0})
drawing_of(to_svg(third), "An add gate distributes, a max gate routes, a mul gate switches")
way_back(third)
by_trace = {name: found.manual for name, found in third.gradients.items()}
same("f", third.expression.value, -20.0)
same_all({name: by_trace[name] for name in "xyz"}, {"x": -8.0, "y": 6.0, "z": 2.0})
same("w", by_trace["w"], 0.0, zero=True)
arrived = {third.expression.labels[step.edge.source]: step.gradient.manual for step in third.steps}
same_all({sides: arrived[sides] for sides in ("x * y", "max(z, w)")},
         {"x * y": 2.0, "max(z, w)": 2.0}, name="both sides of the add gate, 2 and 2")  # fmt: skip

# %% [markdown]
# Read off the rows:
#
# - An **add** gate *distributes*: both inputs get the upstream gradient, 2 and 2, whatever they
#   are.
# - A **max** gate *routes*: the larger input gets all of it, the other nothing. (Which is larger is
#   decided by the values: $2 > -1$, so $z$ gets 2.)
# - A **mul** gate *switches*: each input gets the upstream gradient times the *other* input,
#   $2 \cdot (-4) = -8$ for $x$, $2 \cdot 3 = 6$ for $y$.
#
# ## A neuron, through gates
#
# $$f = \frac{1}{1 + e^{-(w_0 x_0 + w_1 x_1 + w_2)}}$$
#
# at $w_0 = 2$, $x_0 = -1$, $w_1 = -3$, $x_1 = -2$, $w_2 = -3$. It takes the gates ×, +, ×(−1), exp,
# +1 and 1/x. Their local gradients are
#
# $$\frac{d}{dx} \frac{1}{x} = -\frac{1}{x^2}, \qquad \frac{d}{dx}(x + 1) = 1, \qquad
# \frac{d}{dx} e^x = e^x, \qquad \frac{d}{dx} (-x) = -1$$

# %%
point = {"w0": 2.0, "x0": -1.0, "w1": -3.0, "x1": -2.0, "w2": -3.0}
neuron = trace("1 / (1 + exp(-(w0*x0 + w1*x1 + w2)))", point)
drawing_of(to_svg(neuron), "The neuron through gates")
way_back(neuron)

# %% [markdown]
# The same numbers to two digits, as they stand on the course's slides. One differs: for
# $\partial f/\partial x_0$ the slide has 0.40, twice the *rounded* 0.20. Unrounded it is 0.39.

# %%
chain = [float(step.gradient.manual) for step in neuron.steps[:4]]
ends = {f"∂f/∂{name}": float(found.manual) for name, found in neuron.gradients.items()}
gates = ["after 1/x", "after +1", "after exp", "after ×(−1)"]
found = {"f": float(neuron.expression.value), **dict(zip(gates, chain, strict=True)), **ends}
course = {
    "f": "0.73",
    "after 1/x": "-0.53", "after +1": "-0.53", "after exp": "-0.20", "after ×(−1)": "0.20",
    "∂f/∂w0": "-0.20", "∂f/∂x0": "0.39", "∂f/∂w1": "-0.39", "∂f/∂x1": "-0.59", "∂f/∂w2": "0.20",
}  # fmt: skip
assert {name: f"{value:.2f}" for name, value in found.items()} == course
assert f"{round(chain[-1], 2) * point['w0']:.2f}" == "0.40"
table({"": list(found), "value": list(found.values()), "two digits": list(course.values())})

# %% [markdown]
# ## A neuron, through one sigmoid gate
#
# How fine the gates are is up to us. The last four together are the sigmoid, and their local
# gradients multiply to something simple:
#
# $$\sigma(x) = \frac{1}{1 + e^{-x}}, \qquad
# \sigma'(x) = \frac{e^{-x}}{(1 + e^{-x})^2}
# = \left(\frac{1 + e^{-x} - 1}{1 + e^{-x}}\right) \left(\frac{1}{1 + e^{-x}}\right)
# = (1 - \sigma(x))\, \sigma(x)$$

# %%
coarse = trace("sigmoid(w0*x0 + w1*x1 + w2)", point)
drawing_of(to_svg(coarse), "The neuron with one sigmoid gate: 0.73 · (1 − 0.73) = 0.20")
way_back(coarse)

# %% [markdown]
# The gates can be written out as straight lines. Each line of the way back is one gate: its
# local gradient times what the line above found.


# %%
def through_gates(w0, x0, w1, x1, w2):
    p0 = w0 * x0
    p1 = w1 * x1
    p = p0 + p1
    z = p + w2
    n = -z
    e = np.exp(n)
    d = e + 1
    f = 1 / d
    dd = -1 / d**2
    de = 1 * dd
    dn = e * de
    dz = -1 * dn
    dp, dw2 = 1 * dz, 1 * dz
    dp0, dp1 = 1 * dp, 1 * dp
    dw1, dx1 = x1 * dp1, w1 * dp1
    dw0, dx0 = x0 * dp0, w0 * dp0
    return {"f": f, "w0": dw0, "x0": dx0, "w1": dw1, "x1": dx1, "w2": dw2}


def through_sigmoid(w0, x0, w1, x1, w2):
    p0 = w0 * x0
    p1 = w1 * x1
    p = p0 + p1
    z = p + w2
    f = 1 / (1 + np.exp(-z))
    dz = (1 - f) * f
    dp, dw2 = 1 * dz, 1 * dz
    dp0, dp1 = 1 * dp, 1 * dp
    dw1, dx1 = x1 * dp1, w1 * dp1
    dw0, dx0 = x0 * dp0, w0 * dp0
    return {"f": f, "w0": dw0, "x0": dx0, "w1": dw1, "x1": dx1, "w2": dw2}


numbers = [np.array(value) for value in point.values()]
rounding = gauged(through_gates, *numbers)
same_all(through_gates(*numbers), through_sigmoid(*numbers), rounding)

# %% [markdown]
# Both ways give the same gradient, and the sigmoid gate needs one line for four. It also needs
# only its own output, so that is all it has to keep. (Caffe's `SigmoidLayer` has this very line:
# `bottom_diff = top_diff * sigmoid * (1 - sigmoid)`.)
#
# ## What changed in the code
#
# Four gates became one.

# %%
code_diff(through_gates, through_sigmoid, names=("gates", "sigmoid"))

# %% [markdown]
# ## What torch now does for you
#
# It records the forward pass as such a graph. Every `grad_fn` is a gate's `backward`, and each
# stands for one line of ours; `AccumulateGrad` puts the result into the input's `.grad`.

# %%
leaves = {name: torch.tensor(value, dtype=torch.float64, requires_grad=True)
          for name, value in point.items()}  # fmt: skip
t_z = leaves["w0"] * leaves["x0"] + leaves["w1"] * leaves["x1"] + leaves["w2"]
t_f = torch.reciprocal(torch.exp(-t_z) + 1)
grad_fn_table(
    t_f,
    through_gates,
    [
        ("Reciprocal", "dd = -1 / d**2"),
        ("Add", "de = 1 * dd"),
        ("Exp", "dn = e * de"),
        ("Neg", "dz = -1 * dn"),
        ("Add", "dp, dw2 = 1 * dz, 1 * dz"),
        ("AccumulateGrad", '"w2": dw2'),
        ("Add", "dp0, dp1 = 1 * dp, 1 * dp"),
        ("Mul", "dw1, dx1 = x1 * dp1, w1 * dp1"),
        ("AccumulateGrad", '"w1": dw1'),
        ("AccumulateGrad", '"x1": dx1'),
        ("Mul", "dw0, dx0 = x0 * dp0, w0 * dp0"),
        ("AccumulateGrad", '"w0": dw0'),
        ("AccumulateGrad", '"x0": dx0'),
    ],
    leaves,
)
t_f.backward()
by_torch = {"f": t_f, **{name: leaf.grad for name, leaf in leaves.items()}}
same_all(through_gates(*numbers), by_torch, rounding)

# %% [markdown]
# ## Your turn
#
# **An exercise.** The smallest gate. (Then `maximum`.)
#
# ```sh
# handgrad exercise start multiply
# handgrad exercise grade multiply.py
# ```
#
# **On paper.** $f = (x + y)(x - y)$ as two adding gates and a product, at $x = 3$, $y = 2$. Which
# gradients arrive at $x$ and at $y$?
#
# <details><summary>Answer</summary>
#
# The product switches: $q_1 = 5$ gets $q_2 = 1$ and $q_2$ gets 5. So $x$ gets $1 + 5 = 6 = 2x$
# and $y$ gets $1 - 5 = -4 = -2y$.
#
# </details>
#
# **Find the mistake.** Somebody's `multiply` has this piece of code. In which graph would nobody
# notice?
#
# ```python
# dy = x
# ```
#
# <details><summary>Answer</summary>
#
# The upstream gradient is missing. At the end of a graph it is 1, so there the gate looks right.
#
# </details>
