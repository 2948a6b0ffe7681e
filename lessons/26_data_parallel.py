# %% [markdown]
# # 26 · Many workers, one gradient
#
# A batch is dealt out to workers; each finds a gradient of its own rows, and all agree on one. What
# they agree on follows from the chain rule: what each row counts when shards differ, what is
# divided and how often, in which order to clip, which sums a batch norm needs, who keeps the
# optimiser's memory, and how one Linear is shared. Each comes with the mistake that is usually
# made.

# %%
import numpy as np
import torch

import manual
from manual.parallel.collectives import all_gather, all_reduce
from manual.parallel.reduction import owners
from teach.kit import code_diff, gauged, grad_fn_table, same, same_all, table

rng = np.random.default_rng(26)
X, T = rng.standard_normal((12, 3)), rng.standard_normal((12, 2))
W1, W2 = rng.standard_normal((4, 3)), rng.standard_normal((2, 4))
SHARDS = (5, 3, 4)  # rows of each worker

# %% [markdown]
# ## One process
#
# A network with one hidden layer, and the mean over the rows of a squared error:
#
# $$h = \tanh(x W_1^\top), \quad y = h W_2^\top, \quad
# L = \frac{1}{n} \sum_i \ell_i, \quad \ell_i = \tfrac{1}{2} \lVert y_i - t_i \rVert^2$$


# %%
def gradient(w1, w2, x, t):
    h = np.tanh(x @ w1.T)
    dy = (h @ w2.T - t) / len(x)
    dh = dy @ w2
    dz = dh * (1 - h * h)
    return {"w1": dz.T @ x, "w2": dy.T @ h}


whole = gradient(W1, W2, X, T)
errors = gauged(gradient, W1, W2, X, T)

# %% [markdown]
# ## Unequal shards
#
# Worker $r$ sees its $n_r$ rows alone, and divides by $n_r$: $L_r = \frac{1}{n_r} \sum_{i \in r}
# \ell_i$. The mean of the $W$ gradients is
#
# $$\frac{1}{W} \sum_r \nabla L_r = \sum_r \sum_{i \in r} \frac{1}{W n_r} \nabla \ell_i$$
#
# In it a row of worker $r$ counts $1 / (W n_r)$; in the whole batch every row counts $1 / n$. That
# is the same only if all shards are equal. Else a loss weighed by $W n_r / n$ mends it, and the
# mean of the workers' means becomes the mean of the rows.


# %%
def dealt(sizes):
    ends = np.cumsum(sizes)
    return [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]


def own_gradients(w1, w2, x, t, sizes=SHARDS):
    return [gradient(w1, w2, x[rows], t[rows]) for rows in dealt(sizes)]


def averaged(grads, sizes):
    weights = [1 / len(sizes)] * len(sizes)
    return {k: sum(w * g[k] for w, g in zip(weights, grads, strict=True)) for k in grads[0]}


def weighed(grads, sizes):
    weights = [size / sum(sizes) for size in sizes]
    return {k: sum(w * g[k] for w, g in zip(weights, grads, strict=True)) for k in grads[0]}


grads = own_gradients(W1, W2, X, T)
table({
    "worker": range(3),
    "rows": SHARDS,
    "a row counts": [1 / (3 * size) for size in SHARDS],
    "of the whole batch": [1 / 12] * 3,
})  # fmt: skip
same_all(weighed(grads, SHARDS), whole, errors)
off = np.abs(averaged(grads, SHARDS)["w1"] - whole["w1"]).max()
print(f"mean of means: off by up to {off:.3f}")
assert off > 1e-3
equal = own_gradients(W1, W2, X, T, (4, 4, 4))
same_all(averaged(equal, (4, 4, 4)), whole, errors, name="equal shards need no weights")

# %% [markdown]
# ## Divided once
#
# An all-reduce that takes the mean has divided by $W$; who divides again takes steps that are $W$
# times too short, and nothing else looks wrong. A loss that *sums* its rows needs no division:
# $\sum_r \nabla \sum_{i \in r} \ell_i = \nabla \sum_i \ell_i$, so that the mean of its gradients is
# $W$ times too small.
#
# As a matrix on the stacked gradients, the sum is $\mathbf{1} \mathbf{1}^\top$: symmetric, so what
# goes forward through an all-reduce comes back through one.


# %%
def summed_loss(w1, w2, x, t):
    return {k: g * len(x) for k, g in gradient(w1, w2, x, t).items()}


sums = [summed_loss(W1, W2, X[rows], T[rows]) for rows in dealt(SHARDS)]
total = {k: all_reduce([g[k] for g in sums])[0] for k in whole}
mean = {k: all_reduce([g[k] for g in sums], "mean")[0] for k in whole}
same_all(total, summed_loss(W1, W2, X, T), gauged(summed_loss, W1, W2, X, T))
ratio = total["w1"] / mean["w1"]
print("sum / mean:", ratio.round(12).min(), "to", ratio.round(12).max())
assert np.allclose(ratio, 3)

# %% [markdown]
# ## Accumulation
#
# A worker that lacks memory takes its shard in $M$ parts, and lets the gradients add up before
# anything is exchanged. The sum of $M$ means is $M$ times their mean: each part's loss is divided
# by $M$ (or multiplied by $n_m / n$, where parts differ).


# %%
def accumulated(w1, w2, x, t, parts=2, divided=True):
    found = own_gradients(w1, w2, x, t, (len(x) // parts,) * parts)
    return {k: sum(g[k] for g in found) / (parts if divided else 1) for k in found[0]}


same_all(accumulated(W1, W2, X, T), whole, errors)
undivided = accumulated(W1, W2, X, T, divided=False)["w1"] / whole["w1"]
print("not divided, it is", undivided.round(12).max(), "times as long")
assert np.allclose(undivided, 2)

# %% [markdown]
# ## Clipping comes after
#
# $c(g) = g \min(1, c / \lVert g \rVert)$ is not linear, so the order matters. Two workers with long
# gradients that nearly cancel agree on a short one, which needs no clipping. Clipped each by itself
# first, they keep a length that neither the data nor the batch has given them.


# %%
def clipped(g, bound=1.0):
    return g * min(1.0, bound / np.linalg.norm(g))


pair = [np.array([3.0, 4.0]), np.array([-3.0, -3.0])]
after = clipped(sum(pair) / 2)
before = sum(clipped(g) for g in pair) / 2
table({"": ["reduce, then clip", "clip, then reduce"], "first": [after[0], before[0]],
       "second": [after[1], before[1]]})  # fmt: skip
same("as one process clips", after, np.array([0.0, 0.5]))
assert not np.allclose(before, after)

# %% [markdown]
# ## SyncBatchNorm
#
# A batch norm couples all rows, so the workers' statistics must be sums over all of them, each with
# as many rows as it has:
#
# $$\mu = \frac{\sum_s \sum_l x_{sl}}{M}, \qquad
# \sigma^2 = \frac{\sum_s \sum_l (x_{sl} - \mu)^2}{M}, \qquad M = \sum_s M_s$$
#
# That is an all-reduce of sums, and not a mean of the workers' means; and the mean of their
# variances lacks how far their means lie apart. Backward, each $x$ reached every worker's $\hat x$
# through $\mu$ and $\sigma$, so the two sums of one process's formula run over all workers too:
#
# $$\mathrm{d}x_{sl} = \frac{1}{\sigma} \left(\mathrm{d}y_{sl} - \frac{1}{M} \sum_r \sum_k
# \mathrm{d}y_{rk} - \frac{\hat x_{sl}}{M} \sum_r \sum_k \mathrm{d}y_{rk} \hat x_{rk}\right)$$


# %%
def total_of(shards):
    return all_reduce([s.sum(axis=0) for s in shards])[0]


def sync_batch_norm(x, dy, sizes=SHARDS, eps=1e-5):
    shards, ups = [x[rows] for rows in dealt(sizes)], [dy[rows] for rows in dealt(sizes)]
    count = sum(sizes)
    mean = total_of(shards) / count
    var = total_of([(s - mean) ** 2 for s in shards]) / count
    hats = [(s - mean) / np.sqrt(var + eps) for s in shards]
    sum_dy = total_of(ups)
    sum_dy_hat = total_of([u * h for u, h in zip(ups, hats, strict=True)])
    back = [
        (u - sum_dy / count - h * sum_dy_hat / count) / np.sqrt(var + eps)
        for u, h in zip(ups, hats, strict=True)
    ]
    return {"y": np.concatenate(hats), "dx": np.concatenate(back)}


DY = rng.standard_normal(X.shape)
leaf = torch.tensor(X, requires_grad=True)
norm = torch.nn.BatchNorm1d(3, affine=False).double()
normed = norm(leaf)
normed.backward(torch.tensor(DY))
same_all(sync_batch_norm(X, DY), {"y": normed, "dx": leaf.grad}, gauged(sync_batch_norm, X, DY))
means = np.array([X[rows].mean(axis=0) for rows in dealt(SHARDS)])
variances = np.array([X[rows].var(axis=0) for rows in dealt(SHARDS)])
table({"of the first feature": ["mean", "variance"],
       "of all rows": [X.mean(axis=0)[0], X.var(axis=0)[0]],
       "mean of the workers'": [means.mean(axis=0)[0], variances.mean(axis=0)[0]]})  # fmt: skip
assert not np.allclose(means.mean(axis=0), X.mean(axis=0))
assert (variances.mean(axis=0) < X.var(axis=0)).any()

# %% [markdown]
# ## Whose memory is it?
#
# Adam keeps two numbers for every parameter, and moves each element by itself. So worker $r$ may
# keep the memory of its share of the parameters alone, move only these, and be told the rest: an
# all-gather. No sum is taken, so the step is bit for bit that of one worker that keeps everything.
# This is ZeRO's first stage. Who forgets the all-gather trains $W$ different networks.

# %%
params = {"w1": W1, "w2": W2, "b1": np.zeros(4), "b2": np.zeros(2)}
steps = {name: rng.standard_normal(p.shape) for name, p in params.items()}
adam = manual.Adam(lr=0.1)
owner = owners({name: p.size for name, p in params.items()}, 2)
everything, memory = adam.step(params, steps, {})
shares, held = [], []
for worker in range(2):
    mine = {name: p for name, p in params.items() if owner[name] == worker}
    moved, state = adam.step(mine, {name: steps[name] for name in mine}, {})
    shares.append(moved)
    held.append(sum(np.size(v) for entry in state.values() for v in entry.values()))
flat = all_gather([np.concatenate([p.ravel() for p in moved.values()]) for moved in shares])
names = [name for moved in shares for name in moved]
same("all gathered", flat[1], np.concatenate([everything[n].ravel() for n in names]))
table({"worker": range(2), "keeps": [", ".join(moved) for moved in shares], "numbers": held})
assert sum(held) == sum(np.size(v) for entry in memory.values() for v in entry.values())
behind = {name: shares[0].get(name, p) for name, p in params.items()}  # not gathered
assert any(not np.array_equal(behind[name], everything[name]) for name in params)

# %% [markdown]
# ## One Linear on two workers
#
# Layers can be shared as well. Cut the first Linear by its units (columns of $h$), and the second
# by what it takes of them; then $\tanh$, element by element, needs nobody else:
#
# $$h = (h_0,\ h_1), \quad h_s = \tanh(x W_{1,s}^\top), \qquad y = \sum_s h_s W_{2,s}^\top$$
#
# $$\mathrm{d}h_s = \mathrm{d}y\, W_{2,s}, \qquad \mathrm{d}x = \sum_s \mathrm{d}z_s W_{1,s}$$
#
# Two sums run over workers: one all-reduce forward, behind the second Linear, and one backward,
# before the first. Where the other direction has none, every worker has all that it needs.


# %%
def shared(w1, w2, x, t):
    w1s, w2s = (w1[:2], w1[2:]), (w2[:, :2], w2[:, 2:])
    hs = [np.tanh(x @ w.T) for w in w1s]
    y = all_reduce([h @ w.T for h, w in zip(hs, w2s, strict=True)])[0]  # forward's all-reduce
    dy = (y - t) / len(x)
    dzs = [(dy @ w) * (1 - h * h) for h, w in zip(hs, w2s, strict=True)]
    dx = all_reduce([dz @ w for dz, w in zip(dzs, w1s, strict=True)])[0]  # backward's all-reduce
    dw1 = np.concatenate([dz.T @ x for dz in dzs])
    dw2 = np.concatenate([dy.T @ h for h in hs], axis=1)
    return {"w1": dw1, "w2": dw2, "x": dx}


parts = shared(W1, W2, X, T)
same_all({k: parts[k] for k in whole}, whole, errors)
lonely = np.tanh(X @ W1[:2].T) @ W2[:, :2].T  # no all-reduce: worker 0's share for y
y_whole = np.tanh(X @ W1.T) @ W2.T
print(f"worker 0's share alone is off by up to {np.abs(lonely - y_whole).max():.2f}")
assert not np.allclose(lonely, y_whole)

# %% [markdown]
# ## Beside torch's own workers
#
# `handgrad run data-parallel` does all this with four workers by hand, and with four processes that
# run torch's DistributedDataParallel and ZeroRedundancyOptimizer; `handgrad run tensor-parallel`
# with torch's ColwiseParallel and RowwiseParallel. Every tensor of every worker is compared.
# `--plant "divided twice"` and its like show what each mistake looks like.
#
# ## What changed in the code
#
# What a row counts.

# %%
code_diff(averaged, weighed, names=("mean of means", "mean of rows"))

# %% [markdown]
# ## What torch now does for you
#
# In one process, torch's graph of the shared layers has both all-reduces as nodes: the sum of the
# two shares, and the place where two gradients of $x$ add up.

# %%
leaves = {"x": X, "w1a": W1[:2], "w1b": W1[2:], "w2a": W2[:, :2], "w2b": W2[:, 2:]}
leaves = {name: torch.tensor(a, requires_grad=True) for name, a in leaves.items()}
x, w1a, w1b, w2a, w2b = leaves.values()
y = torch.tanh(x @ w1a.T) @ w2a.T + torch.tanh(x @ w1b.T) @ w2b.T
t_loss = (y - torch.tensor(T)).square().sum() / 24
grad_fn_table(
    y,
    shared,
    [
        ("Add", "(forward's all-reduce: dy goes to both shares)"),
        ("Mm", "dzs = [(dy @ w)", "dw2 = np.concatenate([dy.T @ h for h in hs], axis=1)"),
        ("Permute", "(back to w2b)"),
        ("AccumulateGrad", "dw2 = np.concatenate([dy.T @ h for h in hs], axis=1)"),
        ("Tanh", "(1 - h * h)"),
        ("Mm", "dz @ w", "dz.T @ x"),
        ("Permute", "(back to w1b)"),
        ("AccumulateGrad", "dw1 = np.concatenate([dz.T @ x for dz in dzs])"),
        ("Mm", "dzs = [(dy @ w)", "dw2 = np.concatenate([dy.T @ h for h in hs], axis=1)"),
        ("Permute", "(back to w2a)"),
        ("AccumulateGrad", "dw2 = np.concatenate([dy.T @ h for h in hs], axis=1)"),
        ("Tanh", "(1 - h * h)"),
        ("Mm", "dz @ w", "dz.T @ x"),
        ("AccumulateGrad", "dx = all_reduce([dz @ w for dz, w in zip(dzs, w1s, strict=True)])[0]"),
        ("Permute", "(back to w1a)"),
        ("AccumulateGrad", "dw1 = np.concatenate([dz.T @ x for dz in dzs])"),
    ],
    leaves,
)
t_loss.backward()
theirs = {
    "w1": torch.cat([w1a.grad, w1b.grad]),
    "w2": torch.cat([w2a.grad, w2b.grad], dim=1),
    "x": x.grad,
}
same_all(parts, theirs, gauged(shared, W1, W2, X, T))

# %% [markdown]
# ## Your turn
#
# **An exercise.** What each worker computes.
#
# ```sh
# handgrad exercise start linear
# handgrad exercise grade linear.py
# ```
#
# **On paper.** Two workers with 3 and 1 rows; each finds the mean gradient of its rows. What is
# the mean of all four rows?
#
# <details><summary>Answer</summary>
#
# $\frac{3 g_1 + 1 g_2}{4}$, and not $\frac{g_1 + g_2}{2}$: shards count by their rows.
#
# </details>
#
# **Find the mistake.** Somebody's `linear` has this piece of code. Two of these are averaged over
# the workers. How far off is the result?
#
# ```python
# db = dout.mean(axis=0)
# ```
#
# <details><summary>Answer</summary>
#
# Too small by the number of rows of a shard: its upstream gradient, of a mean, is divided
# already.
#
# </details>
