# %% [markdown]
# # 17 · Train and test: what was learnt, and what was only remembered
#
# A network that is right about the data it was trained on may have learnt, or may have learnt by
# heart. Data that it has never seen tell. We train the course's program with two hidden layers on
# pictures of digits, then make it overfit, see three cures, and why features should have one scale.

# %% tags=["hide-input"]
import numpy as np
import torch

from compare.description.data.datasets import make
from teach.kit import COLOURS, code_diff, figure, gauged, grad_fn_table, neurons, same_all, table

# %% [markdown]
# ## Two hidden layers
#
# The pictures have $8 \times 8$ pixels from 0 to 16, each divided by 16; the target is one-hot, and
# the cost is $C = \frac{1}{2n} \sum_x \|y - a^L\|^2$. The four equations of lesson 9, with samples
# as rows, for a whole mini-batch at once:

# %%
neurons([64, 30, 20, 10], "64 pixels, two hidden layers, a neuron for each digit")
digits = make("digits", {})
X, labels = digits.features / 16, digits.labels
T = np.eye(10)[labels]
order = np.random.default_rng(17).permutation(len(X))
train, test = order[:1400], order[1400:]
print(f"{len(train)} digits to learn from, {len(test)} kept apart")


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def forward(X, params):
    a = [X]
    for l in (1, 2, 3):
        a.append(sigmoid(a[-1] @ params[f"W{l}"] + params[f"b{l}"]))
    return a


def backward(X, T, params):
    a, grads = forward(X, params), {}
    dA = (a[3] - T) / len(X)
    for l in (3, 2, 1):
        delta = dA * a[l] * (1 - a[l])  # BP1, then BP2
        grads[f"W{l}"] = a[l - 1].T @ delta  # BP4
        grads[f"b{l}"] = delta.sum(axis=0)  # BP3
        dA = delta @ params[f"W{l}"].T
    return grads


def started(seed=0):
    rng, sizes = np.random.default_rng(seed), [64, 30, 20, 10]
    weights = {f"W{l}": rng.normal(0, sizes[l - 1] ** -0.5, (sizes[l - 1], sizes[l]))
               for l in (1, 2, 3)}  # fmt: skip
    return weights | {f"b{l}": np.zeros(sizes[l]) for l in (1, 2, 3)}


# %% [markdown]
# ## Train, and ask about digits that it has never seen
#
# The answer is the output neuron that is largest. **Accuracy** is the share of right answers. We
# measure it after each epoch on the digits that it learns from, and on those kept apart. Which will
# be higher?


# %%
def accuracy(X, labels, params):
    return float((forward(X, params)[3].argmax(axis=1) == labels).mean())


def epoch(rows, params, rate, rng, batch=10, decay=0.0):
    for batch_rows in np.array_split(rng.permutation(rows), max(1, len(rows) // batch)):
        found = backward(X[batch_rows], T[batch_rows], params)
        params = {name: p - rate * (found[name] + decay * p * (name[0] == "W"))
                  for name, p in params.items()}  # fmt: skip
    return params


def trained(rows, epochs, rate=3.0, decay=0.0):
    params, rng, kept = started(), np.random.default_rng(1), []
    for _ in range(epochs):
        kept.append((accuracy(X[rows], labels[rows], params),
                     accuracy(X[test], labels[test], params)))  # fmt: skip
        params = epoch(rows, params, rate, rng, decay=decay)
    kept.append((accuracy(X[rows], labels[rows], params), accuracy(X[test], labels[test], params)))
    return params, np.array(kept)


_, many = trained(train, 10)
with figure("1,400 digits: it learns", steps=True, xlabel="epoch", ylabel="accuracy") as axes:
    axes.plot(many[:, 0], label="digits to learn from")
    axes.plot(many[:, 1], "--", label="digits kept apart")
print(f"after 10 epochs: {many[-1, 0]:.1%} of those to learn from, {many[-1, 1]:.1%} of the others")
assert many[0, 1] < 0.3
assert many[-1, 1] > 0.9

# %% [markdown]
# ## Overfitting
#
# The network has $64 \cdot 30 + 30 \cdot 20 + 20 \cdot 10$ weights and 60 biases, 2,780 numbers.
# Give it only 40 digits, and it can learn them by heart.

# %%
few = train[:40]
_, by_heart = trained(few, 250)
with figure("40 digits: it learns them by heart", steps=True, xlabel="epoch",
            ylabel="accuracy") as axes:  # fmt: skip
    axes.plot(by_heart[:, 0], label="digits to learn from")
    axes.plot(by_heart[:, 1], "--", label="digits kept apart")
size = sum(p.size for p in started().values())
print(f"{size:,} parameters; {by_heart[-1, 0]:.0%} of 40, {by_heart[-1, 1]:.0%} of the others")
assert size == 2780
assert by_heart[-1, 0] > 0.95
assert by_heart[-1, 1] < 0.85

# %% [markdown]
# Nearly all of the 40 are right, and nothing in the training shows that something is wrong. Only
# the digits kept apart do. So **never judge a network on the data that it was trained on**. What
# helps?
#
# - **More data**: with 1,400 the gap between the two lines was small.
# - **Smaller weights**: add $\frac{\lambda}{2} \sum W^2$ to the cost. Its gradient is $\lambda W$,
#   so each step makes each weight a little smaller (lesson 16: weight decay).
#   (It is no magic: with these 40 digits the weights get shorter, and the others do not gain.)
# - **Stop early**, when the digits kept apart no longer get better.

# %%
amounts = {size: trained(train[:size], 14000 // size)[1][-1] for size in (40, 200, 700, 1400)}
table(
    {
        "digits to learn from": list(amounts),
        "accuracy on them": [round(float(a), 3) for a, _ in amounts.values()],
        "on those kept apart": [round(float(b), 3) for _, b in amounts.values()],
        "gap": [round(float(a - b), 3) for a, b in amounts.values()],
    }
)
gaps = [float(a - b) for a, b in amounts.values()]
assert gaps[-1] < gaps[0] / 3
decayed, kept = trained(few, 250, decay=0.0002)
plain, _ = trained(few, 250)
lengths = [float(sum((p[f"W{l}"] ** 2).sum() for l in (1, 2, 3)) ** 0.5) for p in (plain, decayed)]
print(f"length of all weights: {lengths[0]:.1f}, with decay {lengths[1]:.1f}")
print(f"kept apart: {by_heart[-1, 1]:.1%}, with decay {kept[-1, 1]:.1%}")
assert lengths[1] < lengths[0]

# %% [markdown]
# (A fair judgement needs three parts: to learn from, to choose $\lambda$ and the epoch by, and to
# judge by, once, at the end.)
#
# ## One scale for all features
#
# Students have two features: hours of sleep, between 4 and 9, and the points of the last test,
# between 0 and 100. A linear guess with squared error. The second weight's slope is a sum of
# products with numbers about ten times as large, so its valley is a hundred times as steep. One
# learning rate must serve both.

# %%
rng = np.random.default_rng(3)
sleep, points = rng.uniform(4, 9, 80), rng.uniform(0, 100, 80)
F = np.c_[sleep - sleep.mean(), points - points.mean()]
goal = F @ np.array([2.0, 0.3])


def steps_down(F, rate, steps=40):
    w, path = np.zeros(2), [np.zeros(2)]
    for _ in range(steps):
        w = w - rate * 2 * F.T @ (F @ w - goal) / len(F)
        path.append(w)
    return np.array(path)


def curvatures(F):
    return np.linalg.eigvalsh(2 * F.T @ F / len(F))


scaled = F / F.std(axis=0)
ways = {"raw": F, "scaled": scaled}
rates = {name: 1.9 / curvatures(f)[-1] if name == "raw" else 0.4 for name, f in ways.items()}
paths = {name: steps_down(f, rates[name]) for name, f in ways.items()}
left = {n: [float(np.mean((ways[n] @ w - goal) ** 2)) for w in path] for n, path in paths.items()}

# %% tags=["hide-input"]
for name, f in ways.items():
    best = np.linalg.lstsq(f, goal, rcond=None)[0]
    reach = np.abs(best) * 1.15 if name == "raw" else np.full(2, np.abs(best).max() * 1.15)
    U, V = np.meshgrid(np.linspace(-0.2 * reach[0], 1.9 * reach[0], 80),
                       np.linspace(-0.2 * reach[1], 1.9 * reach[1], 80))  # fmt: skip
    surface = np.mean((np.c_[U.ravel(), V.ravel()] @ f.T - goal) ** 2, axis=1).reshape(U.shape)
    with figure(f"Lines of equal loss, and 40 steps: {name} features", width=420,
                xlabel="weight of sleep", ylabel="weight of points") as axes:  # fmt: skip
        axes.contour(U, V, surface, levels=8, colors=COLOURS["d1"], linewidths=1)
        axes.plot(*paths[name].T, ".-", color=COLOURS["s2"], markersize=4)

# %%
stretch = {name: float(curvatures(f)[-1] / curvatures(f)[0]) for name, f in ways.items()}
table(
    {
        "features": list(ways),
        "steepest / flattest": [round(s, 1) for s in stretch.values()],
        "loss after 5 steps": [loss[5] for loss in left.values()],
        "loss after 40 steps": [loss[-1] for loss in left.values()],
    }
)
assert stretch["raw"] > 100 > 2 > stretch["scaled"]
assert left["scaled"][-1] < 1e-6 < 0.1 < left["raw"][-1]

# %% [markdown]
# With raw features the valley is narrow: the step that is short enough for the steep direction is
# far too short for the flat one. Subtract each feature's mean and divide by its spread, and the
# valley is nearly round. Two rules: take mean and spread from the **training** data alone, and use
# the same two numbers for each new row.
#
# ## What changed in the code
#
# From lesson 1's descent to mini-batches with weight decay. Training has grown a loop; the step is
# what it was.


# %%
def one_step(params, found, rate):
    return {name: p - rate * found[name] for name, p in params.items()}


def decaying_step(params, found, rate, decay):
    return {name: p - rate * (found[name] + decay * p * (name[0] == "W"))
            for name, p in params.items()}  # fmt: skip


code_diff(one_step, decaying_step, names=("plain", "with decay"))

# %% [markdown]
# ## What torch now does for you
#
# `Linear`, `Sigmoid` and `SGD` with `weight_decay` (which decays the biases, too, unless they are
# put into a group of their own). The three layers are three times the same nodes.

# %%
rows = train[:10]
params = started()
leaves = {name: torch.tensor(p, requires_grad=True) for name, p in params.items()}
a = torch.tensor(X[rows])
for l in (1, 2, 3):
    a = torch.sigmoid(a @ leaves[f"W{l}"] + leaves[f"b{l}"])
t_cost = (a - torch.tensor(T[rows])).square().sum() / (2 * len(rows))
layer = [
    ("Sigmoid", "delta = dA * a[l] * (1 - a[l])"),
    ("Add", "delta.sum(axis=0)"),
    ("AccumulateGrad", 'grads[f"b{l}"]'),
    ("Mm", "a[l - 1].T @ delta", 'dA = delta @ params[f"W{l}"].T'),
    ("AccumulateGrad", 'grads[f"W{l}"]'),
]
grad_fn_table(
    t_cost,
    backward,
    [
        ("Div", "(½, and / len(X))"),
        ("Sum", "(one for each)"),
        ("Pow", "dA = (a[3] - T) / len(X)"),
        ("Sub", "(the target is fixed)"),
        *layer * 3,
    ],
    leaves,
)
weights = [leaves[f"W{l}"] for l in (1, 2, 3)]
biases = [leaves[f"b{l}"] for l in (1, 2, 3)]
descent = torch.optim.SGD(
    [{"params": weights, "weight_decay": 0.0002}, {"params": biases}], lr=3.0
)  # fmt: skip
t_cost.backward()
descent.step()


def first_step(X, T, params):
    return decaying_step(params, backward(X, T, params), 3.0, 0.0002)


problem = X[rows], T[rows], params
same_all(first_step(*problem), leaves, gauged(first_step, *problem))

# %% [markdown]
# ## Your turn
#
# **An exercise.** The network that learnt by heart, again by hand.
#
# ```sh
# handgrad exercise start two_layer
# handgrad exercise grade two_layer.py
# ```
#
# **On paper.** Training accuracy 100 %, test accuracy 80 %. Which of the two says what the
# network is worth, and what would you try?
#
# <details><summary>Answer</summary>
#
# The test accuracy. More data, a smaller network, weight decay, or to stop earlier.
#
# </details>
#
# **Find the mistake.** Somebody's `two_layer` has this piece of code. It trains, and gets worse
# than it should be. What is missing?
#
# ```python
# dz = da
# ```
#
# <details><summary>Answer</summary>
#
# The ReLU's mask: neurons that were silent get an error, too.
#
# </details>
