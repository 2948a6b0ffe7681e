# %% [markdown]
# # 24 · The move: from a backward pass by hand to autograd
#
# Nobody writes a large network's backward pass by hand, and nobody should trust what they do not
# understand. So we move the students' network from NumPy to torch in six small stages. Each must
# give the same loss, the same gradients and the same trained weights as the one before, and each
# shows what torch took over.

# %% tags=["hide-input"]
import re
from itertools import chain, combinations

import numpy as np
import torch
from torch import nn

import compare
import manual
from compare.description.data.datasets import make
from compare.description.data.scaling import scale
from compare.gauge import K
from compare.judge.judge import gauged as tolerances
from compare.judge.judge import judge
from compare.judge.quantities import Key
from teach.kit import (
    code_diff,
    code_of,
    figure,
    gauged,
    grad_fn_chain,
    grad_fn_table,
    same,
    same_all,
    table,
    torch_gradients,
)
from teach.kit.diff import source_of
from torch_ref import as_torch

# %%
students = make("students", {})
X = scale(students.features, "standard")  # (N, 2): a row is a sample
Y = students.labels[:, None].astype(float)  # (N, 1)
N, LR = len(X), 0.5

rng = np.random.default_rng(12)
start = {  # torch's names and layout: a weight is (outputs, inputs)
    "0.weight": rng.normal(size=(4, 2)),
    "0.bias": rng.normal(size=4),
    "2.weight": rng.normal(size=(1, 4)),
    "2.bias": rng.normal(size=1),
}

# %% [markdown]
# ## (a) All NumPy
#
# The whole program: forward, backward, update. With $J$ the mean cross-entropy of
# $P = \sigma(Z^2)$, every line below `# backward` is one of
#
# $$\begin{aligned}
# \frac{\partial J}{\partial Z^2} &= \frac{P - Y}{N}, &
# \frac{\partial J}{\partial W} &= \left(\frac{\partial J}{\partial Z}\right)^\top A, &
# \frac{\partial J}{\partial b} &= \sum_n \frac{\partial J}{\partial Z_n}, \\
# \frac{\partial J}{\partial A} &= \frac{\partial J}{\partial Z}\, W, &
# \frac{\partial J}{\partial Z^1} &= \frac{\partial J}{\partial A^1} \odot A^1 (1 - A^1), &
# \text{where } & Z = A W^\top + b
# \end{aligned}$$


# %%
def all_numpy(X, Y, params, steps):
    for _ in range(steps):
        W1, b1, W2, b2 = params.values()
        # forward
        Z1 = X @ W1.T + b1
        A1 = 1 / (1 + np.exp(-Z1))
        Z2 = A1 @ W2.T + b2
        P = 1 / (1 + np.exp(-Z2))
        J = -(Y * np.log(P) + (1 - Y) * np.log(1 - P)).mean()
        # backward
        dZ2 = (P - Y) / N
        dW2 = dZ2.T @ A1
        db2 = dZ2.sum(axis=0)
        dA1 = dZ2 @ W2
        dZ1 = dA1 * A1 * (1 - A1)
        dW1 = dZ1.T @ X
        db1 = dZ1.sum(axis=0)
        # update
        grads = {"0.weight": dW1, "0.bias": db1, "2.weight": dW2, "2.bias": db2}
        params = {name: p - LR * grads[name] for name, p in params.items()}
    return J, grads | {"Z2": dZ2, "A1": dA1, "Z1": dZ1}, params


# %% [markdown]
# **How stages are compared.** After 1 step and after 20 we take the loss, every gradient and every
# updated parameter. `rounding` is this NumPy program, run once more on numbers that carry their own
# rounding error: each element of each tensor is allowed what that says, and no more.


# %%
def results(stage, X, Y, params, steps):
    J, grads, params = stage(X, Y, params, steps)
    return {
        "J": J,
        **{f"∂J/∂{name}": grad for name, grad in grads.items()},
        **{f"new {name}": p for name, p in params.items()},
    }


def tensors():
    return torch.tensor(X), torch.tensor(Y), {name: torch.tensor(p) for name, p in start.items()}


LENGTHS = (1, 20)
before = {steps: results(all_numpy, X, Y, start, steps) for steps in LENGTHS}
rounding = {steps: gauged(results, all_numpy, X, Y, start, steps) for steps in LENGTHS}


def verify(stage):
    """Assert that a stage does what the one before it did; it is then the one before."""
    for steps in LENGTHS:
        now = results(stage, *tensors(), steps)
        assert {"J", *(f"{what}{name}" for what in ("∂J/∂", "new ") for name in start)} <= {*now}
        was = {name: before[steps][name] for name in now}
        same_all(now, was, rounding[steps], name=f"{stage.__name__}, after step {steps}")
        before[steps] = now


table({"steps": LENGTHS, "J": [float(before[steps]["J"]) for steps in LENGTHS]})

# %% [markdown]
# ## (b) Torch tensors, backward still by hand
#
# A tensor is an array with another prefix. So let Python replace the prefix in the text of (a), and
# run that. Three lines change (and the name), and nothing is recorded: the loss has no `grad_fn`.

# %%
tensor_program = source_of(all_numpy).replace("np.", "torch.")
tensor_program = tensor_program.replace("all_numpy", "torch_tensors")
exec(tensor_program)
torch_tensors = locals()["torch_tensors"]

verify(torch_tensors)
J, _, _ = torch_tensors(*tensors(), 1)
assert J.grad_fn is None
print("(b) records nothing: grad_fn is", J.grad_fn)
code_diff(all_numpy, tensor_program, names=("(a) NumPy", "(b) tensors"))

# %% [markdown]
# ## (c) Hand-written layers, called by autograd
#
# The backward pass is cut into pieces: one for each layer, next to its forward. An
# `autograd.Function` is such a pair. `ctx` keeps what backward will need (our cache), and
# `backward` gets the gradient from above and returns one for each input of `forward`. (The loss is
# the same $J$, written so that no $z$ is too large for it.)


# %%
class Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, W, b):
        ctx.save_for_backward(x, W)
        return x @ W.T + b

    @staticmethod
    def backward(ctx, dy):
        x, W = ctx.saved_tensors
        return dy @ W, dy.T @ x, dy.sum(axis=0)


class Sigmoid(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z):
        a = 1 / (1 + torch.exp(-z))
        ctx.save_for_backward(a)
        return a

    @staticmethod
    def backward(ctx, da):
        (a,) = ctx.saved_tensors
        return da * a * (1 - a)


class LogisticLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z, y):
        ctx.save_for_backward(torch.sigmoid(z), y)
        return (torch.relu(z) - y * z + torch.log1p(torch.exp(-z.abs()))).mean()

    @staticmethod
    def backward(ctx, dJ):
        p, y = ctx.saved_tensors
        return dJ * (p - y) / len(y), None  # y is data: it gets no gradient


own_layers = code_of("24_the_move", "Linear", "Sigmoid", "LogisticLoss")

# %% [markdown]
# Each layer is right by itself: the project's check runs it beside torch on many inputs.

# %%
functional = nn.functional
checks = {
    "Linear": compare.check_torch(
        Linear.apply, reference=functional.linear, inputs={"x": (4, 3), "W": (5, 3), "b": (5,)}
    ),
    "Sigmoid": compare.check_torch(
        Sigmoid.apply, reference=torch.sigmoid, inputs={"z": rng.normal(size=(4, 3))}
    ),
    "LogisticLoss": compare.check_torch(
        LogisticLoss.apply,
        reference=functional.binary_cross_entropy_with_logits,
        inputs={"z": (6, 1), "y": np.array([[1.0], [0], [0], [1], [1], [0]])},
        no_grad=["y"],
    ),
}
table(
    {
        "layer": [f"`{name}`" for name in checks],
        "verdict": [report.verdict for report in checks.values()],
        "tensors compared": [len(report.differences) for report in checks.values()],
    }
)
assert all(report.verdict == "agree" for report in checks.values())

# %% [markdown]
# Now the program has no backward pass of its own. `requires_grad_` says whose gradient is wanted,
# `J.backward()` calls our pieces in reverse order, and each gradient arrives in `.grad`. (The diff
# leaves out the three classes above, which are all new.)


# %%
def own_functions(X, Y, params, steps):
    W1, b1, W2, b2 = params.values()
    for p in params.values():
        p.requires_grad_()
    for _ in range(steps):
        for p in params.values():
            p.grad = None
        # forward
        Z1 = Linear.apply(X, W1, b1)
        A1 = Sigmoid.apply(Z1)
        Z2 = Linear.apply(A1, W2, b2)
        J = LogisticLoss.apply(Z2, Y)
        # backward
        J.backward()
        # update
        with torch.no_grad():
            for p in params.values():
                p.sub_(LR * p.grad)
    return J, {name: p.grad for name, p in params.items()}, params


verify(own_functions)
code_diff(tensor_program, own_functions, names=("(b) tensors", "(c) Functions"))

# %% [markdown]
# What autograd recorded is our own backward, piece by piece, in the order in which it is called.
# On the right is the line of (b) that each piece replaces.

# %%
x_, y_, leaves = tensors()
J, _, _ = own_functions(x_, y_, leaves, 1)
grad_fn_table(
    J,
    tensor_program,
    [
        ("LogisticLossBackward", "dZ2 = (P - Y) / N"),
        ("LinearBackward", "dA1 = dZ2 @ W2", "dW2 = dZ2.T @ A1", "db2 = dZ2.sum(axis=0)"),
        ("AccumulateGrad", '"2.weight": dW2'),
        ("AccumulateGrad", '"2.bias": db2'),
        ("SigmoidBackward", "dZ1 = dA1 * A1 * (1 - A1)"),
        ("LinearBackward", "dW1 = dZ1.T @ X", "db1 = dZ1.sum(axis=0)"),
        ("AccumulateGrad", '"0.weight": dW1'),
        ("AccumulateGrad", '"0.bias": db1'),
    ],
    leaves,
)

# %% [markdown]
# `torch_ref.as_torch` does the same to any layer of `manual`: NumPy computes, autograd calls. The
# layer becomes a module, with torch's names for its parameters, and a node of its own in the graph.

# %%
by_hand = nn.Sequential(
    as_torch(manual.Linear(2, 4)), as_torch(manual.Sigmoid()), as_torch(manual.Linear(4, 1))
)
print(by_hand)
found = torch_gradients(by_hand, as_torch(manual.BCEWithLogitsLoss()), start, X, Y)
found = {f"∂J/∂{name}": found[name] for name in start}
loss = as_torch(manual.BCEWithLogitsLoss())(by_hand(x_), y_)
print([node.name for node in grad_fn_chain(loss) if not node.leaf])
same_all(found, {name: before[1][name] for name in found}, rounding[1], name="as_torch, gradients")

# %% [markdown]
# ## (d) `loss.backward()` alone
#
# Take our Functions away and write the forward pass in torch's own operations. Each brings its own
# backward. Not one derivative is ours now: the three classes go as well.


# %%
def autograd(X, Y, params, steps):
    W1, b1, W2, b2 = params.values()
    for p in params.values():
        p.requires_grad_()
    for _ in range(steps):
        for p in params.values():
            p.grad = None
        # forward
        Z1 = X @ W1.T + b1
        A1 = torch.sigmoid(Z1)
        Z2 = A1 @ W2.T + b2
        J = functional.binary_cross_entropy_with_logits(Z2, Y)
        # backward
        J.backward()
        # update
        with torch.no_grad():
            for p in params.values():
                p.sub_(LR * p.grad)
    return J, {name: p.grad for name, p in params.items()}, params


verify(autograd)
code_diff(own_functions, autograd, names=("(c) Functions", "(d) autograd"))

# %% [markdown]
# **Node by node.** A hook on each `grad_fn` hears what the node hands down during `backward()`. It
# is, number for number, what the hand-written lines of (a) computed. (`Mm` sees $W^\top$, so
# `Permute` turns its gradient back.)

# %%
x_, y_, leaves = tensors()
W1, b1, W2, b2 = (p.requires_grad_() for p in leaves.values())
J = functional.binary_cross_entropy_with_logits(torch.sigmoid(x_ @ W1.T + b1) @ W2.T + b2, y_)
heard = []
for node in grad_fn_chain(J, leaves):
    if not node.leaf:
        node.node.register_hook(
            lambda handed, _, name=node.name: heard.extend(
                (name, g) for g in handed if g is not None
            )
        )
J.backward()


def lines(grads):
    """What the lines of (a) computed, under the names that they have there."""
    W = {f"dW{l}": grads[f"{2 * l - 2}.weight"] for l in (1, 2)}
    b = {f"db{l}": grads[f"{2 * l - 2}.bias"] for l in (1, 2)}
    rest = {f"d{name}": grads[name] for name in ("Z1", "A1", "Z2")}
    return W | {f"{name}.T": dW.T for name, dW in W.items()} | b | rest


hand, error = lines(all_numpy(X, Y, start, 1)[1]), lines(gauged(all_numpy, X, Y, start, 1)[1])
order = ["dZ2", "dZ2", "db2", "dA1", "dW2.T", "dW2", "dZ1", "dZ1", "db1", "dW1.T", "dW1"]
labels = [
    f"{name.removesuffix('Backward0')} → {line}"
    for (name, _), line in zip(heard, order, strict=True)
]
same_all(
    dict(zip(labels, (hand[line] for line in order), strict=True)),
    dict(zip(labels, (grad for _, grad in heard), strict=True)),
    dict(zip(labels, (error[line] for line in order), strict=True)),
)

# %% [markdown]
# Why `p.grad = None`? Because `backward()` **adds** to `.grad`: gradients add where a value is used
# twice (lesson 4), and autograd takes a second pass for a second use. Forget it, and every step
# carries all the gradients before it along.

# %%
once = W1.grad.clone()
J = functional.binary_cross_entropy_with_logits(torch.sigmoid(x_ @ W1.T + b1) @ W2.T + b2, y_)
J.backward()
same("a second backward() without clearing: twice the gradient", W1.grad, 2 * once)

# %% [markdown]
# ## (e) `nn.Module` and `torch.optim`
#
# What is left is bookkeeping. A module owns its parameters, `optimizer.zero_grad()` clears all
# gradients, `optimizer.step()` updates all parameters.


# %%
def torch_nn(X, Y, params, steps):
    model = nn.Sequential(nn.Linear(2, 4), nn.Sigmoid(), nn.Linear(4, 1)).double()
    loss = nn.BCEWithLogitsLoss()
    model.load_state_dict(params)
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    for _ in range(steps):
        optimizer.zero_grad()
        J = loss(model(X), Y)
        J.backward()
        optimizer.step()
    params = dict(model.named_parameters())
    return J, {name: p.grad for name, p in params.items()}, params


verify(torch_nn)
code_diff(autograd, torch_nn, names=("(d) autograd", "(e) nn and optim"))

# %% [markdown]
# ## (f) The hand-written layers swapped back in
#
# The move works in both directions, and one layer at a time. The network has four parts, each on
# two shelves: ours (from `manual`) and torch's. The program is that of (e), with parts to choose.


# %%
def hybrid(X, Y, params, steps, parts):
    *layers, loss = parts
    model = nn.Sequential(*layers).double()
    model.load_state_dict(params)
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    for _ in range(steps):
        optimizer.zero_grad()
        J = loss(model(X), Y)
        J.backward()
        optimizer.step()
    params = dict(model.named_parameters())
    return J, {name: p.grad for name, p in params.items()}, params


PARTS = ("0 Linear", "1 Sigmoid", "2 Linear", "loss")


def shelves():
    ours = manual.Linear(2, 4), manual.Sigmoid(), manual.Linear(4, 1), manual.BCEWithLogitsLoss()
    theirs = nn.Linear(2, 4), nn.Sigmoid(), nn.Linear(4, 1), nn.BCEWithLogitsLoss()
    return dict(zip(PARTS, ours, strict=True)), dict(zip(PARTS, theirs, strict=True))


def split(by_hand, steps, **replaced):
    """Results with the parts in `by_hand` hand-written, and torch's modules for the rest."""
    ours, theirs = shelves()
    ours |= replaced
    parts = [as_torch(ours[part]) if part in by_hand else theirs[part] for part in PARTS]
    return results(lambda *rest: hybrid(*rest, parts), *tensors(), steps)


code_diff(torch_nn, hybrid, names=("(e) nn and optim", "(f) hybrid"))

# %% [markdown]
# Four parts make $2^4 = 16$ splits. Each trains for 20 steps, and every loss, gradient and weight
# is judged against stage (e) with the project's own judge. *Budget* is the largest share of its
# tolerance that any element used.


# %%
def judged(now, was, errors):
    """The names of the tensors that do not agree, and the largest share of a tolerance used."""

    def keyed(values):
        return {Key("", name): np.asarray(getattr(v, "data", v)) for name, v in values.items()}

    allowed = tolerances({Key("", n): errors[n] for n in now}, np.dtype(float), K)
    rows = judge([Key("", name) for name in now], keyed(now), keyed(was), allowed)
    bad = [key.quantity for key, code in zip(rows.keys, rows.verdicts, strict=True) if code]
    return bad, float(np.nanmax(rows.measures.budget))


every = list(chain.from_iterable(combinations(PARTS, n) for n in range(len(PARTS) + 1)))
verdicts = {by_hand: judged(split(by_hand, 20), before[20], rounding[20]) for by_hand in every}
table(
    {part: ["by hand" if part in by_hand else "torch" for by_hand in every] for part in PARTS}
    | {"tensors": [len(before[20])] * len(every)}
    | {"verdict": ["differ: " + ", ".join(bad) if bad else "same" for bad, _ in verdicts.values()]}
    | {"budget": [f"{100 * budget:.2f} %" for _, budget in verdicts.values()]}
)
assert len(every) == 16
assert not any(bad for bad, _ in verdicts.values())

# %% [markdown]
# ## A mistake, and where it is
#
# Now a sigmoid whose backward forgets the factor $1 - \sigma$. It points the right way, so the
# network still learns, and the curve shows nothing.


# %%
class Forgetful(manual.Sigmoid):
    def backward(self, grad_output, cache):
        return (grad_output * cache.y,), {}  # should be · y (1 - y)


wrong = {"1 Sigmoid": Forgetful()}
lengths = [1, 5, 10, 15, 20]
curves = {
    "right": [split(PARTS, n)["J"].item() for n in lengths],
    "wrong": [split(PARTS, n, **wrong)["J"].item() for n in lengths],
}
with figure("The loss falls with the wrong backward too, here even faster", steps=True,
            xlabel="step", ylabel="J") as axes:  # fmt: skip
    for label, curve in curves.items():
        axes.plot(lengths, curve, label=label)
table({"step": lengths} | {f"J, {label}": curve for label, curve in curves.items()})
assert curves["wrong"][-1] < curves["right"][-1] < 0.5 * curves["right"][0]

# %% [markdown]
# The judge sees it after one step. But look at which gradients it names:

# %%
bad, _ = judged(split(PARTS, 1, **wrong), before[1], rounding[1])
print("all by hand, not the same:", ", ".join(bad))
assert bad == ["∂J/∂0.weight", "∂J/∂0.bias", "new 0.weight", "new 0.bias"]

# %% [markdown]
# Layer 0 is innocent: a wrong gradient is handed **down**, and first shows where there are
# parameters. To find the culprit, bisect. Give half of the suspects to torch. If the rest still
# disagrees, the mistake is in the rest; otherwise in the half that was replaced. Among $n$ layers
# with one mistake that takes about $\log_2 n$ runs, and no trust in anybody's explanation.


# %%
def bisect(disagrees, suspects):
    """Find the one part with which a network disagrees; yields (parts by hand, disagrees)."""
    while len(suspects) > 1:
        half = suspects[: len(suspects) // 2]
        found = disagrees(half)
        yield half, found
        suspects = half if found else suspects[len(half) :]
    yield suspects, disagrees(suspects)


def disagrees(by_hand):
    return bool(judged(split(by_hand, 1, **wrong), before[1], rounding[1])[0])


hunt = list(bisect(disagrees, PARTS))
table(
    {
        "run": range(1, len(hunt) + 1),
        "by hand": [", ".join(by_hand) for by_hand, _ in hunt],
        "verdict": ["disagree" if found else "agree" for _, found in hunt],
    }
)
assert hunt[-1] == (("1 Sigmoid",), True)

# %% [markdown]
# Was it right? All 16 splits say: the network is wrong exactly where our sigmoid is used.

# %%
guilty = {by_hand: disagrees(by_hand) for by_hand in every}
assert all(found == ("1 Sigmoid" in by_hand) for by_hand, found in guilty.items())
table(
    {
        "the sigmoid is": ["by hand", "torch"],
        "splits": [sum(("1 Sigmoid" in s) == used for s in every) for used in (True, False)],
        "of these, disagree": [
            sum(found for s, found in guilty.items() if ("1 Sigmoid" in s) == used)
            for used in (True, False)
        ],
    }
)

# %% [markdown]
# The same from the shell, for any network of the project: name the layers that torch is to compute.
# `handgrad run students-2-4-1 --torch-layers 1 --plant "1.grad_input*=-1"` agrees, because the
# mistake was planted in a layer that is not used.

# %%
reports = {
    name: compare.run(
        "students-2-4-1", steps=1, drift=False, torch_layers=[name], plant="1.grad_input*=-1"
    )
    for name in "0123"
}
table(
    {
        "`--torch-layers`": list(reports),
        "verdict": [report.verdict for report in reports.values()],
    }
)
assert [n for n, report in reports.items() if report.verdict == "agree"] == ["1"]

# %% [markdown]
# ## What changed in the code
#
# From (a) to (e), all at once. Then what is left in each stage to write.

# %%
code_diff(all_numpy, torch_nn, names=("(a) NumPy", "(e) nn and optim"))
programs = {
    "(a) NumPy": [all_numpy],
    "(b) tensors": [tensor_program],
    "(c) Functions": [own_layers, own_functions],
    "(d) autograd": [autograd],
    "(e) nn and optim": [torch_nn],
}
sources = {stage: source_of(code) for stage, code in programs.items()}
derivatives = r"^ +(?:d[JZAWbP]\d? = |return (?:dy|da|dJ) )"  # lines that compute one
by_us = {stage: len(re.findall(derivatives, text, re.M)) for stage, text in sources.items()}
table(
    {
        "stage": list(programs),
        "lines": [len(text.strip().splitlines()) for text in sources.values()],
        "derivatives, lines of ours": list(by_us.values()),
        "their order": ["ours", "ours", *["torch"] * 3],
        "update": [*["ours"] * 4, "torch"],
    }
)
assert list(by_us.values()) == [7, 7, 3, 0, 0]
assert all((".backward()" in sources[stage]) == (stage[1] > "b") for stage in programs)

# %% [markdown]
# ## What torch now does for you
#
# Stage (e) beside stage (a): every line of the backward pass has a node that does it. `nn.Linear`
# is one operation to autograd, `Addmm`, which does the work of `Add` and `Mm`. Yours are still the
# network, the loss, the learning rate, and the question whether it is all right. Now you have a way
# to answer it.

# %%
J, _, leaves = torch_nn(*tensors(), 1)
grad_fn_table(
    J,
    all_numpy,
    [
        ("BinaryCrossEntropyWithLogits", "dZ2 = (P - Y) / N"),
        ("Addmm", "db2 = dZ2.sum(axis=0)", "dW2 = dZ2.T @ A1", "dA1 = dZ2 @ W2"),
        ("AccumulateGrad", '"2.bias": db2'),
        ("T", "(`dW2`, turned into the layout of the weight)"),
        ("AccumulateGrad", '"2.weight": dW2'),
        ("Sigmoid", "dZ1 = dA1 * A1 * (1 - A1)"),
        ("Addmm", "db1 = dZ1.sum(axis=0)", "dW1 = dZ1.T @ X", "(no dX: X is data)"),
        ("AccumulateGrad", '"0.bias": db1'),
        ("T", "(`dW1`, likewise)"),
        ("AccumulateGrad", '"0.weight": dW1'),
    ],
    leaves,
)

# %% [markdown]
# From one end of the move to the other: the program that is all NumPy, and the one that is all
# torch.

# %%
by_numpy, by_torch = results(all_numpy, X, Y, start, 20), results(torch_nn, *tensors(), 20)
same_all({name: by_numpy[name] for name in by_torch}, by_torch, rounding[20])

# %% [markdown]
# ## Your turn
#
# **An exercise.** The students' way: once more by hand, before autograd takes over.
#
# ```sh
# handgrad exercise start two_layer
# handgrad exercise grade two_layer.py
# ```
#
# **On paper.** Which of the six stages would you keep, if only the activation is your own?
#
# <details><summary>Answer</summary>
#
# An `autograd.Function` for that one layer, as in (c), and torch for all else.
#
# </details>
#
# **Find the mistake.** Somebody's `two_layer` has this piece of code. The loss is already a mean.
# What does the descent do?
#
# ```python
# dw2 = a.T @ dout / len(x)
# ```
#
# <details><summary>Answer</summary>
#
# It divides by the batch size twice in this layer: its steps are $N$ times too small, and the
# others are right.
#
# </details>
