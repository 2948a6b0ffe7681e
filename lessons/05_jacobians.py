# %% [markdown]
# # 5 · Vectors, Jacobians, and why nobody forms them
#
# With vectors the local gradient becomes a matrix of all derivatives of outputs with respect to
# inputs, the Jacobian. The chain rule multiplies by it. But a Jacobian is enormous and mostly
# empty, and its product with the upstream gradient has a short formula. Every `backward` is such
# a formula.

# %% tags=["hide-input"]
import numpy as np
import torch

from manual import Linear, ReLU
from teach.kit import (
    code_diff,
    drawing_of,
    figure,
    gauged,
    grad_fn_table,
    same,
    same_all,
    show,
    table,
)
from teach.trace.drawing import to_svg
from teach.trace.jacobian import jacobian_cost, jacobian_sizes
from teach.trace.tracer import trace

# %% [markdown]
# ## An example with vectors
#
# $f(x, W) = \|W x\|^2 = \sum_i (W x)_i^2$, in two gates: $q = W x$ and $f = \|q\|^2$.

# %%
W = np.array([[0.1, 0.5], [-0.3, 0.8]])
x = np.array([0.2, 0.4])
squared = trace("norm2(W @ x)", {"W": W, "x": x})
drawing_of(to_svg(squared), "‖Wx‖²: every value has a gradient of its own shape")
assert squared.agrees

# %% [markdown]
# Index by index, with $q_k = \sum_j W_{kj} x_j$ and $f = \sum_k q_k^2$. Each line asks in which
# sums a number appears, and adds what comes back (lesson 4):
#
# $$\begin{aligned}
# \frac{\partial f}{\partial q_k} &= 2 q_k, & \nabla_q f &= 2 q \\
# \frac{\partial f}{\partial W_{ij}} &= \sum_k \frac{\partial f}{\partial q_k}
# \frac{\partial q_k}{\partial W_{ij}} = 2 q_i x_j, & \nabla_W f &= \nabla_q f\, x^\top \\
# \frac{\partial f}{\partial x_i} &= \sum_k \frac{\partial f}{\partial q_k}
# \frac{\partial q_k}{\partial x_i} = \sum_k 2 q_k W_{ki}, & \nabla_x f &= W^\top \nabla_q f
# \end{aligned}$$


# %%
def squared_norm(W, x):
    q = W @ x  # (2,)
    f = np.sum(q * q)
    dq = 2 * q  # (2,)
    dW = dq[:, None] * x[None, :]  # (2, 2)
    dx = W.T @ dq  # (2,)
    return {"q": q, "f": f, "∇q": dq, "∇W": dW, "∇x": dx}


found, rounding = squared_norm(W, x), gauged(squared_norm, W, x)
course = {
    "q": np.array([0.22, 0.26]),
    "f": 0.116,
    "∇q": np.array([0.44, 0.52]),
    "∇W": np.array([[0.088, 0.176], [0.104, 0.208]]),
    "∇x": np.array([-0.112, 0.636]),
}
same_all(found, course, rounding)
by_trace = {f"∇{name}": both.manual for name, both in squared.gradients.items()}
same_all({name: found[name] for name in by_trace}, by_trace, rounding, name="by the trace")

# %% [markdown]
# A rule that catches most mistakes: **the gradient of a number with respect to a matrix has the
# matrix's shape**. Each of its elements tells how that one element changes the number. With the
# shapes alone, $\nabla_q$ of length 2 and $x$ of length 2 can only make a $2 \times 2$ matrix as
# $\nabla_q x^\top$ (or its transpose, and the index form says which).

# %%
for gradient, value in (("∇q", found["q"]), ("∇W", W), ("∇x", x)):
    print(f"{gradient}: {found[gradient].shape}, as the value")
    assert found[gradient].shape == value.shape

# %% [markdown]
# ## The Jacobian
#
# If a vector $y$ depends on a vector $x$, all the derivatives together are a matrix with a row for
# each output and a column for each input. The chain rule adds over all outputs, which is a
# **vector–Jacobian product**:
#
# $$J_{ij} = \frac{\partial y_i}{\partial x_j}, \qquad
# \frac{\partial L}{\partial x_j} = \sum_i \frac{\partial L}{\partial y_i} J_{ij}, \qquad
# \nabla_x = J^\top \nabla_y$$
#
# For $q = W x$ the Jacobian is $W$ itself, so $\nabla_x = W^\top \nabla_q$, as above. Take ReLU,
# $y_i = \max(0, x_i)$, on five numbers. `backward` gives row $i$ of its Jacobian if the upstream
# gradient is 1 at $i$ and 0 elsewhere.


# %%
def jacobian_of(layer, x):
    """Every row by a call of backward with a one-hot upstream gradient."""
    y, cache = layer.forward(x)
    one_hots = np.eye(y.size).reshape(y.size, *y.shape)
    return np.stack([layer.backward(e, cache)[0][0].ravel() for e in one_hots])


five = np.array([1.5, -0.5, 2.0, -1.0, 0.5])
upstream = np.array([4.0, -1.0, 5.0, 9.0, -2.0])
J = jacobian_of(ReLU(), five)
show(f"J =\n{J.astype(int)}")
t_J = torch.autograd.functional.jacobian(torch.relu, torch.tensor(five))
same("ReLU's Jacobian", J, t_J)
same("its diagonal and nothing else", J, np.diag(five > 0))
_, cache = ReLU().forward(five)
(by_backward,), _ = ReLU().backward(upstream, cache)
same("Jᵀ ∇y, and backward", J.T @ upstream, by_backward)

# %% [markdown]
# It is **diagonal**: $y_i$ depends on $x_i$ alone. So the product is element-wise,
# $\nabla_x = \nabla_y \odot 1_{x > 0}$, five multiplications and no matrix.
#
# ## How large it would be
#
# Take a ReLU on vectors of length 4096. In training it works on a minibatch of, say, 100 of them at
# once, so its input is one vector of $100 \cdot 4096 = 409{,}600$ numbers.

# %%
one, hundred = jacobian_sizes(4096), jacobian_sizes(4096, batch=100)
table(
    {
        "input": ["4096", "100 × 4096"],
        "Jacobian": [f"{size.rows:,} × {size.columns:,}" for size in (one, hundred)],
        "entries": [f"{size.entries:,}" for size in (one, hundred)],
        "in float32": [f"{size.float32_bytes:,} bytes" for size in (one, hundred)],
        "not zero, at most": [f"{size.diagonal:,}" for size in (one, hundred)],
    }
)
assert one.rows == one.columns == 4096
assert hundred.rows == hundred.columns == 409_600
assert one.float32_bytes == 64 * 2**20  # 64 MiB
assert hundred.float32_bytes == 625 * 2**30  # 625 GiB
print(f"64 MiB for one sample, {hundred.float32_bytes // 2**30} GiB for the minibatch")

# %% [markdown]
# ## What it costs
#
# Here both ways are measured, on vectors of growing length: form the Jacobian and multiply by it,
# or let `backward` multiply element by element. The results are equal bit for bit (else the
# measuring function fails). The Jacobian's memory grows with $n^2$, the product's with $n$;
# the product's time is still little more than that of a call.

# %%
cost = jacobian_cost(sizes=(64, 128, 256, 512, 1024, 2048), repeats=2)
lengths = [int(n) for n in cost["n"]]
for what in ("bytes", "seconds"):
    with figure(f"ReLU's backward on n numbers: {what}", xlabel="n",
                xscale="log", xticks=lengths, xticklabels=lengths, ylabel=what,
                yscale="log") as axes:  # fmt: skip
        axes.plot(lengths, cost[f"jacobian_{what}"], "o-", label="full Jacobian")
        axes.plot(lengths, cost[f"product_{what}"], "o-", label="vector–Jacobian product")
table(
    {
        "n": lengths,
        "Jacobian, bytes": list(cost["jacobian_bytes"]),
        "product, bytes": list(cost["product_bytes"]),
        "Jacobian, ms": [round(1000 * s, 3) for s in cost["jacobian_seconds"]],
        "product, ms": [round(1000 * s, 3) for s in cost["product_seconds"]],
    }
)
assert (cost["jacobian_bytes"] >= 4 * cost["n"] ** 2).all()
assert (cost["product_bytes"] < 64 * cost["n"] + 4096).all()

# %% [markdown]
# ## A linear layer, on a minibatch
#
# $Y = X W^\top$ with $N$ samples as rows of $X$, and $W$ (outputs × inputs) as torch stores it. In
# index form, $Y_{no} = \sum_i X_{ni} W_{oi}$, so the derivatives are
#
# $$\frac{\partial Y_{no}}{\partial X_{mi}} = \delta_{nm} W_{oi}, \qquad
# \frac{\partial Y_{no}}{\partial W_{pi}} = \delta_{op} X_{ni}$$
#
# where $\delta_{nm}$ is 1 if $n = m$, else 0. The first is zero between different samples: samples
# do not mix, and the Jacobian is a $W$ for each, along the diagonal. Three samples, two inputs,
# two outputs are small enough to write both down.

# %%
rng = np.random.default_rng(3)
N, inputs, outputs = 3, 2, 2
X, W, dY = (rng.normal(size=s) for s in ((N, inputs), (outputs, inputs), (N, outputs)))
to_X = np.einsum("nm,oi->nomi", np.eye(N), W).reshape(N * outputs, N * inputs)
to_W = np.einsum("op,ni->nopi", np.eye(outputs), X).reshape(N * outputs, outputs * inputs)
show(f"∂Y/∂X, 6 × 6: W for each sample\n{to_X.round(2) + 0.0}")
show(f"∂Y/∂W, 6 × 4: the samples' rows\n{to_W.round(2) + 0.0}")

t_X, t_W = torch.tensor(X, requires_grad=True), torch.tensor(W, requires_grad=True)
by_torch = torch.autograd.functional.jacobian(lambda X, W: X @ W.T, (t_X, t_W))
for label, jacobian in (("∂Y/∂X: samples do not mix", to_X), ("∂Y/∂W: outputs do not", to_W)):
    rows, columns = np.nonzero(jacobian)
    with figure(f"{label}: {len(rows)} of {jacobian.size} entries are not zero", width=420,
                height=300, steps=True, xlabel="input", ylabel="output") as axes:  # fmt: skip
        axes.plot(columns, rows, "s", markersize=9)
        axes.set(xlim=(-0.7, jacobian.shape[1] - 0.3), ylim=(len(jacobian) - 0.3, -0.7))
assert np.count_nonzero(to_X) == N * outputs * inputs
assert np.count_nonzero(to_W) == N * outputs * inputs
same("∂Y/∂X", to_X, by_torch[0].reshape(to_X.shape))
same("∂Y/∂W", to_W, by_torch[1].reshape(to_W.shape))

# %% [markdown]
# Now multiply by the upstream gradient, and the $\delta$'s leave one sum of each:
#
# $$\begin{aligned}
# \frac{\partial L}{\partial X_{mi}} &= \sum_{n,o} \frac{\partial L}{\partial Y_{no}}\,
# \delta_{nm} W_{oi} = \sum_o \frac{\partial L}{\partial Y_{mo}} W_{oi}, &
# \nabla_X &= \nabla_Y\, W \\
# \frac{\partial L}{\partial W_{pi}} &= \sum_{n,o} \frac{\partial L}{\partial Y_{no}}\,
# \delta_{op} X_{ni} = \sum_n \frac{\partial L}{\partial Y_{np}} X_{ni}, &
# \nabla_W &= \nabla_Y^\top X
# \end{aligned}$$
#
# Two matrix products of the size of the forward pass. The second one sums over the samples,
# because every sample uses the same $W$.


# %%
def with_jacobians(X, W, dY):
    (N, inputs), outputs = X.shape, len(W)
    to_X = np.einsum("nm,oi->nomi", np.eye(N), W).reshape(dY.size, X.size)
    to_W = np.einsum("op,ni->nopi", np.eye(outputs), X).reshape(dY.size, W.size)
    dX = to_X.T @ dY.reshape(dY.size)
    dW = to_W.T @ dY.reshape(dY.size)
    return {"X": dX.reshape(N, inputs), "W": dW.reshape(outputs, inputs)}


def with_products(X, W, dY):
    dX = dY @ W  # (N, inputs)
    dW = dY.T @ X  # (outputs, inputs)
    return {"X": dX, "W": dW}


same_all(with_products(X, W, dY), with_jacobians(X, W, dY), gauged(with_products, X, W, dY))

layer = Linear(inputs, outputs, bias=False).with_params({"weight": W})
_, cache = layer.forward(X)
(dX,), own = layer.backward(dY, cache)
same_all({"X": dX, "W": own["weight"]}, with_products(X, W, dY), gauged(with_products, X, W, dY),
         name="manual.Linear")  # fmt: skip

N, inputs, outputs = 100, 4096, 4096
entries = {
    "∂Y/∂X": (N * outputs) * (N * inputs),
    "∂Y/∂W": (N * outputs) * (outputs * inputs),
    "W, for comparison": outputs * inputs,
}
table(
    {
        "100 samples, 4096 → 4096": list(entries),
        "entries": [f"{n:,}" for n in entries.values()],
        "in float32": [f"{4 * n / 2**30:,.10g} GiB" for n in entries.values()],
    }
)
assert 4 * entries["∂Y/∂W"] == 25_600 * 2**30  # 25 TiB

# %% [markdown]
# ## What changed in the code
#
# The Jacobians are gone; their products with the upstream gradient stay.

# %%
code_diff(with_jacobians, with_products, names=("jacobians", "products"))

# %% [markdown]
# ## What torch now does for you
#
# Each `grad_fn` is a vector–Jacobian product: given the upstream gradient it returns the inputs'
# gradients, and no Jacobian exists at any time. `Mv` is the matrix–vector product $W x$.

# %%
leaves = {"W": torch.tensor([[0.1, 0.5], [-0.3, 0.8]], dtype=torch.float64, requires_grad=True),
          "x": torch.tensor(x, requires_grad=True)}  # fmt: skip
t_f = (leaves["W"] @ leaves["x"]).square().sum()
grad_fn_table(
    t_f,
    squared_norm,
    [
        ("Sum", "(every element adds to f: one each)"),
        ("Pow", "dq = 2 * q"),
        ("Mv", "dW = dq[:, None] * x[None, :]", "dx = W.T @ dq"),
        ("AccumulateGrad", '"∇W": dW'),
        ("AccumulateGrad", '"∇x": dx'),
    ],
    leaves,
)
t_f.backward()
same_all({name: found[f"∇{name}"] for name in leaves}, {n: t.grad for n, t in leaves.items()},
         {name: rounding[f"∇{name}"] for name in leaves})  # fmt: skip
same("∇W of the linear layer, by torch",
     with_products(X, W, dY)["W"], torch.autograd.grad(t_X @ t_W.T, t_W, torch.tensor(dY))[0],
     gauged(with_products, X, W, dY)["W"])  # fmt: skip

# %% [markdown]
# ## Your turn
#
# **An exercise.** A Jacobian that is *not* diagonal, and still not formed.
#
# ```sh
# handgrad exercise start jacobian
# handgrad exercise grade jacobian.py
# ```
#
# **On paper.** $y = A x$ with $A$ of 3 rows and 2 columns. Which shape has the Jacobian, and
# which has $\nabla_x = J^\top \nabla_y$?
#
# <details><summary>Answer</summary>
#
# $J = A$ is $3 \times 2$: a row for each output. $J^\top$ is $2 \times 3$, $\nabla_y$ has 3
# numbers, so $\nabla_x$ has 2, as $x$ has.
#
# </details>
#
# **Find the mistake.** Somebody's `jacobian` has this piece of code. It looks like the sigmoid's.
# What does the grader say of it for a softmax?
#
# ```python
# dout * y * (1 - y)
# ```
#
# <details><summary>Answer</summary>
#
# Cross terms are missing: this is the Jacobian's diagonal alone. Each input of a row also moves
# the row's other outputs.
#
# </details>
