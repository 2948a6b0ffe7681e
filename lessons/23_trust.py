# %% [markdown]
# # 23 · How to trust a gradient
#
# A comparison says "same". What is that worth? It is worth something if correct code passes, wrong
# code does not, and the comparison could have failed at all. We try each of these on the checks
# themselves: tolerances, kinks, vacuous checks, and finally a score for the whole.

# %% tags=["hide-input"]
import sys
import warnings
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

import compare
import manual
from compare.gauge import K
from compare.witness.certify import certify
from teach.kit import (
    code_diff,
    gauged,
    grad_fn_table,
    gradients,
    same,
    same_all,
    table,
)
from teach.kit.diff import LESSONS

sys.path.append(str(LESSONS.parent))  # `evidence` stands beside the lessons and is not installed

from evidence.false_alarms.rules import RULES, agrees
from evidence.mutation import worker
from evidence.mutation.battery.layers import LayerCheck
from evidence.mutation.run import planned
from evidence.mutation.score import Score
from evidence.mutation.survey import survey

# %% [markdown]
# ## Two correct sums
#
# Floats round, and the order of a sum decides how. Here NumPy and torch add the same numbers in
# float32, and both are correct. Where the terms cancel, hardly a digit agrees: the error belongs to
# the terms, and the sum is small. So no fixed **relative** tolerance is right. Nor is an absolute
# one: the same numbers in another unit have other errors.

# %%
rng = np.random.default_rng(13)
terms = rng.normal(size=(4, 1000))
terms[2:] -= terms[2:].mean(axis=1, keepdims=True)  # rows whose sum is nearly zero
terms = (terms * np.array([[1.0], [1000.0], [1.0], [1000.0]])).astype(np.float32)
by_numpy, by_torch = terms.sum(axis=1), torch.tensor(terms).sum(dim=1).numpy()
carried = gauged(lambda a: a.sum(axis=1), terms.astype(np.float64))
gap, allowed = np.abs(by_numpy - by_torch), carried.tolerance(np.dtype(np.float32), K)
table(
    {
        "sum of 1000 terms": ["size 1", "size 1000", "size 1, cancelling", "size 1000, cancelling"],
        "NumPy": by_numpy,
        "torch": by_torch,
        "relative difference": gap / np.abs(by_torch),
        "difference": gap,
        "allowed": allowed,
    }
)
same("the first two", by_numpy[:2], by_torch[:2], carried[:2])
assert (gap <= allowed).all()
assert not np.allclose(by_numpy, by_torch)

# %% [markdown]
# (`same` is asked about the first two sums only. The others are smaller than what rounding may do;
# there zero would be a right answer as well, and "same" would say nothing. More of that below.)
#
# ## A tolerance that is derived
#
# The column "allowed" comes from the **error gauge**: the same code runs once more on arrays that
# carry beside each value $v$ the rounding error $E$ it may have gathered, in units of the unit
# roundoff $u$. Errors of single operations add up like random numbers, as a root of a sum of
# squares:
#
# $$\begin{aligned}
# a \pm b: \quad E^2 &= E_a^2 + E_b^2 + v^2, & a b: \quad E^2 &= (b E_a)^2 + (a E_b)^2 + v^2 \\
# f(x): \quad E^2 &= (f'(x) E_x)^2 + (4 f)^2, & \text{allowed:} \quad
# & 256\, (u E + 4\, \text{tiny})
# \end{aligned}$$
#
# (A product also has a term of second order, left out here.) Every `same` of these lessons is
# judged so, or bit for bit. How do fixed tolerances do? We draw forty correct networks, of 1 to 8
# hidden layers and with inputs of many sizes, and ask five rules whether NumPy's and torch's
# gradients agree. Then we plant six mistakes in each first layer's gradient and ask again.

# %%
ACTIVATIONS = ("Sigmoid", "Tanh", "ReLU", "SiLU", "GELU")


def exact(array):
    """Round to float32, so that both dtypes start from the same numbers."""
    return np.asarray(array, np.float32).astype(np.float64)


def draw(rng):
    """One random network: its layers' names and sizes, its parameters, and its data."""
    depth, rows = int(rng.integers(1, 9)), int(rng.integers(8, 65))
    widths = [int(n) for n in rng.integers(4, 33, size=depth + 1)]
    activation = ACTIVATIONS[rng.integers(len(ACTIVATIONS))]

    def layers(side):
        hidden = [part for i, o in pairwise(widths)
                  for part in (side.Linear(i, o), getattr(side, activation)())]  # fmt: skip
        return side.Sequential(*hidden, side.Linear(widths[-1], 3))

    graph = layers(manual)
    params = {k: exact(rng.normal(0, (1 / p.shape[-1]) ** 0.5, size=p.shape))
              for k, p in graph.params.items()}  # fmt: skip
    x = exact(rng.normal(size=(rows, widths[0])) * 10.0 ** rng.uniform(-2, 2))
    return graph, layers(torch.nn), params, x, exact(rng.normal(size=(rows, 3)))


def by_autograd(model, params, x, y, dtype):
    model = model.to(getattr(torch, dtype))
    model.load_state_dict({k: torch.tensor(p) for k, p in params.items()})
    model.zero_grad()
    values = (torch.tensor(a.astype(dtype)) for a in (x, y))
    torch.nn.functional.mse_loss(model(next(values)), next(values)).backward()
    return {k: p.grad.numpy() for k, p in model.named_parameters()}


def one_element(g):
    wrong = g.copy()
    wrong.flat[np.abs(g).argmax()] *= g.dtype.type(1.01)
    return wrong


MISTAKES = {
    "1 % too large": lambda g: g * g.dtype.type(1.01),
    "one element off by 1 %": one_element,
    "a thousandth of the largest added": lambda g: g + g.dtype.type(1e-3) * np.abs(g).max(),
    "1/N for 1/(N - 1), N = 64": lambda g: g * g.dtype.type(63 / 64),
    "a row's sign": lambda g: np.concatenate([-g[:1], g[1:]]),
    "rows shifted": lambda g: np.roll(g, 1, axis=0),
}
networks = [draw(rng) for _ in range(40)]
refused = {(rule.name, d): 0 for rule in RULES for d in ("float32", "float64")}
caught, kinds = dict(refused), {(r.name, m): 0 for r in RULES for m in MISTAKES}
for graph, model, params, x, y in networks:
    errors = gauged(gradients, graph, manual.MSELoss(), params, x, y)
    for d in ("float32", "float64"):
        lower = {k: p.astype(d) for k, p in params.items()}
        ours = gradients(graph, manual.MSELoss(), lower, x.astype(d), y.astype(d))
        theirs = by_autograd(model, params, x, y, d)
        allowed = {k: errors[k].tolerance(np.dtype(d), K) for k in theirs}
        for rule in RULES:
            fits = [agrees(rule, ours[k], theirs[k], allowed[k]) for k in theirs]
            refused[rule.name, d] += not all(fits)
            for name, mistake in MISTAKES.items():
                found = not agrees(rule, mistake(ours["0.weight"]), theirs["0.weight"],
                                   allowed["0.weight"])  # fmt: skip
                caught[rule.name, d] += found
                kinds[rule.name, name] += found and d == "float64"

# %% [markdown]
# A rule should have 0 in the first two columns, and all 240 in the last two. The second table
# counts the mistakes of each kind that were caught in float64, of 40.

# %%
names = [rule.name for rule in RULES]
table(
    {
        "rule": names,
        "correct networks refused, float32": [refused[n, "float32"] for n in names],
        "float64": [refused[n, "float64"] for n in names],
        "mistakes caught, float32": [caught[n, "float32"] for n in names],
        "caught, float64": [caught[n, "float64"] for n in names],
    }
)
table({"mistake": list(MISTAKES), **{n: [kinds[n, m] for m in MISTAKES] for n in names}})
assert refused["gauge", "float32"] == refused["gauge", "float64"] == 0
assert caught["gauge", "float64"] == len(networks) * len(MISTAKES)
assert refused["numpy.allclose", "float32"] > 0

# %% [markdown]
# `handgrad bench --false-alarms` measures the same on thousands of networks of more kinds. There
# the gauge is not without fault either: `docs/false-alarms.md` says where.
#
# ## Rounding shrinks, a mistake stays
#
# From float32 to float64 the unit roundoff falls by $2^{29}$, and rounding errors fall with it. A
# wrong formula is as wrong as before. So look at both: judge **derivations** in float64.


# %%
def gaps(change):
    """The largest differences to torch in float32 and in float64, with a change on our side."""
    graph, model, params, x, y = networks[0]
    found = []
    for d in ("float32", "float64"):
        lower = {k: p.astype(d) for k, p in params.items()}
        ours = gradients(graph, manual.MSELoss(), lower, x.astype(d), y.astype(d))["0.weight"]
        theirs = by_autograd(model, params, x, y, d)["0.weight"]
        found.append(float(np.abs(change(ours) - theirs).max()))
    return found


cases = {
    "correct": gaps(lambda g: g),
    "float32 hidden in the float64 path": gaps(lambda g: g.astype(np.float32).astype(g.dtype)),
    "one element off by 1 %": gaps(one_element),
}
table(
    {
        "": list(cases),
        "apart in float32": [a for a, _ in cases.values()],
        "apart in float64": [b for _, b in cases.values()],
        "log2 of the ratio": [float(np.log2(a / b)) for a, b in cases.values()],
    }
)
assert np.log2(np.divide(*cases["correct"])) > 24
assert np.log2(np.divide(*cases["one element off by 1 %"])) < 13

# %% [markdown]
# ## Kinks and ties
#
# At a corner a function has no slope, only slopes to its left and right. Every program picks one,
# and two correct programs may pick differently. These are torch's picks, asked just now, and
# `manual`'s where it has the function.


# %%
def torch_slope(f, *point):
    leaves = [torch.tensor(p, dtype=torch.float64, requires_grad=True) for p in point]
    f(*leaves).sum().backward()
    return leaves[0].grad.tolist()


def manual_slope(layer, *point):
    out, cache = layer.forward(*(np.array(p, dtype=np.float64) for p in point))
    return layer.backward(np.ones_like(out), cache)[0][0].tolist()


functional = torch.nn.functional
KINKS = [
    ("relu at 0", torch.relu, (0.0,), manual.ReLU(), 0),
    ("leaky_relu at 0", functional.leaky_relu, (0.0,), manual.LeakyReLU(), 0.01),
    ("abs at 0", functional.l1_loss, (0.0, 0.0), manual.L1Loss(), 0),
    ("maximum(x, y) at x = y", torch.maximum, (2.0, 2.0), manual.MaxGate(), 0.5),
    ("max(dim) of a row of equals", lambda x: x.max(dim=0).values, ([2.0, 2.0],), None, [1, 0]),
    ("amax of a row of equals", lambda x: x.amax(dim=0), ([2.0, 2.0],), None, [0.5, 0.5]),
    ("clamp(-1, 1) at 1", lambda x: x.clamp(-1, 1), (1.0,), None, 1),
    ("hardtanh at 1", functional.hardtanh, (1.0,), None, 0),
    ("relu6 at 6", functional.relu6, (6.0,), None, 0),
    ("hardswish at 3", functional.hardswish, (3.0,), None, 1),
    ("norm at 0", torch.linalg.vector_norm, ([0.0, 0.0],), None, [0, 0]),
]
picks = [torch_slope(f, *point) for _, f, point, _, _ in KINKS]
ours = ["" if layer is None else str(manual_slope(layer, *point)) for *_, point, layer, _ in KINKS]
assert picks == [pick for *_, pick in KINKS]
assert all(mine in ("", str(pick)) for mine, pick in zip(ours, picks, strict=True))
table({"where": [k[0] for k in KINKS], "torch": [str(p) for p in picks], "`manual`": ours})

# %% [markdown]
# A numerical gradient steps to both sides of the corner, finds the mean, and calls correct code
# wrong. So test ties by themselves, on whole numbers, bit for bit; elsewhere take a difference of
# sides only where rounding can reach the corner, $|z| \le 256\, u E(z)$. The harness does both.

# %%
h = 1e-6
numerical = (max(0 + h, 0) - max(0 - h, 0)) / (2 * h)
print(f"relu at 0: numerical {numerical}, by hand {manual_slope(manual.ReLU(), 0.0)}")
same("halfway between the slopes", numerical, 0.5)

# %% [markdown]
# ## Vacuous checks
#
# The most common check of a backward pass feeds it an upstream gradient of **ones**, as
# `out.sum().backward()` does. But softmax's outputs add up to 1, whatever the input: their sum has
# a gradient of zero. So a backward pass that returns zeros passes, and so does one that multiplies
# the right result by anything.
#
# $$dx = s \odot \left(dy - \textstyle\sum_i dy_i s_i\right) = s \odot (1 - 1) = 0
# \quad \text{for } dy = 1$$


# %%
def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def right(dy, s):
    return s * (dy - (dy * s).sum(axis=1, keepdims=True))


BACKWARDS = {
    "right": right,
    "zeros": lambda dy, s: 0 * dy * s,
    "sign turned": lambda dy, s: -right(dy, s),
    "doubled": lambda dy, s: 2 * right(dy, s),
    "s left out": lambda dy, s: dy - (dy * s).sum(axis=1, keepdims=True),
    "mean for the sum": lambda dy, s: s * (dy - dy.mean(axis=1, keepdims=True)),
    "s squared": lambda dy, s: s * right(dy, s),
}
x = exact(rng.normal(size=(4, 5)))


def usual_check(backward, x):
    dy = np.ones_like(x)
    leaf = torch.tensor(x, requires_grad=True)
    torch.softmax(leaf, dim=1).backward(torch.tensor(dy))
    return np.allclose(backward(dy, softmax(x)), leaf.grad)


def careful_check(backward, x):
    dy = np.random.default_rng(0).normal(size=x.shape)
    leaf = torch.tensor(x, requires_grad=True)
    torch.softmax(leaf, dim=1).backward(torch.tensor(dy))
    error = gauged(lambda dy, x: backward(dy, softmax(x)), dy, x)
    same("softmax", backward(dy, softmax(x)), leaf.grad, error)
    return True


def answer(check, backward):
    try:
        return "passes" if check(backward, x) else "fails"
    except AssertionError:
        return "fails"


usual = [answer(usual_check, backward) for backward in BACKWARDS.values()]
careful = [answer(careful_check, backward) for backward in BACKWARDS.values()]
table({"backward": list(BACKWARDS), "ones, allclose": usual, "random, `same`": careful})
assert usual == ["passes"] * len(BACKWARDS)
assert careful == ["passes"] + ["fails"] * (len(BACKWARDS) - 1)

ones = np.ones_like(x)
try:
    same("softmax with ones", right(ones, softmax(x)), np.zeros_like(x),
         gauged(lambda dy, x: right(dy, softmax(x)), ones, x))  # fmt: skip
    refused_ones = False
except AssertionError as error:
    print(error)
    refused_ones = True
assert refused_ones

# %% [markdown]
# With ones all seven pass. With a random upstream gradient only the right one is left. And `same`
# does not even accept the question with ones: a comparison that zeros would have passed shows
# nothing. This project calls it **vacuous**, which is not "agree".
#
# ## Numerical, or torch? Both
#
# A numerical check shows that backward fits forward. If the **forward** pass is wrong, it sees
# nothing. A comparison with torch finds that, but knows only torch's word. Here a loss divides by
# $N K$ where $N$ was meant; its backward is a perfect derivative of it.


# %%
def mean_loss(p, y):
    d = p - y
    return (d * d).sum() / d.size, d


def mean_loss_backward(dout, d):
    return dout * 2 * d / d.size, None


def meant(p, y):
    return (p - y).square().sum() / len(p)


data = {"p": rng.normal(size=(6, 3)), "y": rng.normal(size=(6, 3))}
task = {"inputs": data, "no_grad": ["y"], "shrink": False}
alone = compare.check(mean_loss, mean_loss_backward, **task)
beside = compare.check(mean_loss, mean_loss_backward, meant, **task)
print(f"against its own forward pass: {alone.verdict}; beside torch: {beside.verdict}")
print(beside.first_divergence.explanation)
assert alone.agrees
assert not beside.agrees

# %% [markdown]
# ## Who checks the check? The mutation score
#
# Plant small mistakes of the kinds that people make into the hand-written source, one at a time: a
# sign, a factor, an axis, a transpose, a forgotten term. Run the check on each. The share that it
# catches is its **mutation score**. We do it now for Softmax, in `manual/softmax.py`,
# with this project's check of a layer beside torch, in three strengths.

# %%
FORMULAS = ("Softmax", "softmax", "pulled_back")  # the file has Softmax's relatives as well


@dataclass(frozen=True)
class OnesCheck(LayerCheck):
    """The same check, made weak: the upstream gradient is all ones."""

    def upstream(self, seed, sample, shape):
        return np.ones(shape)


SHAPES = (((4, 3),), ((1, 1),), ((2, 0),), ((0, 2),))  # no numbers at all are a case, too


def score(check, *kinds):
    """The score of checks of the layer along both axes, on inputs of these kinds."""
    checks = [check("Softmax", (("dim", dim),), shapes=SHAPES, kinds=kinds) for dim in (0, 1)]
    known = survey(["float64"], 0, checks, None)  # the right code passes
    plan = [m for m in planned(["softmax"], ()) if m.function.split(".")[0] in FORMULAS]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a mutant takes the mean of no numbers
        return Score(tuple(worker.examine(mutant, known) for mutant in plan), (), 0, 0.0)


scores = {
    "upstream ones": score(OnesCheck, "random"),
    "upstream random": score(LayerCheck, "random"),
    "and large inputs too": score(LayerCheck, "random", "large"),
}
table(
    {
        "check": list(scores),
        "mutants": [len(s.outcomes) for s in scores.values()],
        "caught": [len(s.killed) for s in scores.values()],
        "survivors": [len(s.survivors) for s in scores.values()],
        "score": [f"{100 * s.score:.0f} %" for s in scores.values()],
    }
)
found = {name: s.counted("operator") for name, s in scores.items()}
kinds = found["upstream ones"]
table(
    {
        "kind of mistake": list(kinds),
        "mutants": [count["mutants"] for count in kinds.values()],
        **{f"caught, {name}": [c[kind]["killed"] for kind in kinds] for name, c in found.items()},
    }
)


def survivors(name):
    return [f"{o.mutant.function}:\n{o.mutant.diff}\n" for o in scores[name].survivors]


healed = [text for text in survivors("upstream ones") if text not in survivors("upstream random")]
print(f"survives with ones, {healed[0]}")
print(f"survives with ordinary inputs, {survivors('upstream random')[0]}")
assert len(survivors("upstream ones")) > len(survivors("upstream random")) > 0
assert scores["and large inputs too"].score == 1

# %% [markdown]
# A survivor shows a hole in the check, and where it is. The first was a missing random number; the
# second needs inputs so large that $e^x$ overflows where the largest is not subtracted first. All
# of `manual/` has over 10,000 such mutants: `handgrad mutate` plants them and names the survivors.
#
# ## Certificates
#
# Last, a proof instead of a comparison. In **ball arithmetic** every number is a midpoint with a
# radius that surely holds the true value. The forward pass is differentiated along every element,
# the backward pass is run on the same balls, and the digits in which they must agree are counted.
# No torch, no tolerance, no step size.

# %%
point = {"x": x[:2]}


def softmax_forward(x):
    s = softmax(x)
    return s, s


certificates = {
    name: certify(softmax_forward, lambda dy, s, b=backward: (b(dy, s),), point)
    for name, backward in BACKWARDS.items()
}
table(
    {
        "backward": list(certificates),
        "proven digits": [c.digits for c in certificates.values()],
        "certified": ["yes" if c.certified else "no" for c in certificates.values()],
    }
)
print(certificates["doubled"].note)
assert certificates["right"].digits > 50
assert [name for name, c in certificates.items() if c.certified] == ["right"]

# %% [markdown]
# ## What changed in the code
#
# From the usual check to one that means something: the upstream gradient, and the tolerance.

# %%
code_diff(usual_check, careful_check, names=("usual", "careful"))

# %% [markdown]
# ## What torch now does for you
#
# One node, with the whole vector-Jacobian product in it. Torch tests such nodes with `gradcheck`,
# which compares them with numerical gradients; our own goes through the stricter check here.

# %%
leaf = torch.tensor(x, requires_grad=True)
out = torch.softmax(leaf, dim=1)
grad_fn_table(
    out,
    right,
    [
        ("Softmax", "s * (dy - (dy * s).sum(axis=1, keepdims=True))"),
        ("AccumulateGrad", "(the gradient of x)"),
    ],
    {"x": leaf},
)
dy = rng.normal(size=x.shape)
out.backward(torch.tensor(dy))
assert torch.autograd.gradcheck(lambda x: torch.softmax(x, dim=1), leaf)
same_all({"x": right(dy, softmax(x))}, {"x": leaf.grad},
         {"x": gauged(lambda dy, x: right(dy, softmax(x)), dy, x)})  # fmt: skip

# %% [markdown]
# ## Your turn
#
# **An exercise.** A gradient that many people trusted too early.
#
# ```sh
# handgrad exercise start batch_norm
# handgrad exercise grade batch_norm.py
# ```
#
# **On paper.** A check multiplies the output by ones and adds up. Why does it find nothing in a
# batch norm's $dx$?
#
# <details><summary>Answer</summary>
#
# The outputs of a channel add up to a constant, so the right gradient is zero, and a backward
# that returns zeros passes: the check is vacuous.
#
# </details>
#
# **Find the mistake.** Somebody's `batch_norm` has this piece of code. It passes with five rows.
# What does the grader do?
#
# ```python
# g.sum(axis=0) / 5
# ```
#
# <details><summary>Answer</summary>
#
# It runs other batch sizes, and says that a size stands in the code.
#
# </details>
