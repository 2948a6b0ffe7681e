# %% [markdown]
# # 20 · Attention: a soft look-up
#
# A recurrent network must carry everything along. Attention looks it up: each place asks a
# question, compares it with what all places offer, and takes a mean of their answers. It is two
# matrix products with a softmax between them, and so is its backward pass.

# %% tags=["hide-input"]
import numpy as np
import torch

import manual
from teach.kit import code_diff, figure, gauged, grad_fn_table, same, same_all, table

# %% [markdown]
# ## One question
#
# Three places offer a **key** and a **value** each. A **query** $q = (1, 0)$ is compared with each
# key by a dot product; the softmax makes weights of these scores; the answer is the mean of the
# values with these weights. Which value will win?

# %%
q = np.array([1.0, 0.0])
K = np.array([[2.0, 1.0], [0.0, 3.0], [-1.0, 0.0]])
V = np.array([[10.0], [20.0], [30.0]])


def softmax(s):
    e = np.exp(s - s.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


scores = K @ q
weights = softmax(scores)
table({"key": [str(k) for k in K], "score q · k": scores, "weight": weights, "value": V[:, 0]})
answer = weights @ V
print(f"the answer: {answer[0]:.3f}")
same("the scores", scores, np.array([2.0, 0.0, -1.0]))
assert 10 < answer[0] < 15  # mostly the first value
assert abs(weights.sum() - 1) < 1e-15

# %% [markdown]
# A look-up in a dictionary takes one value and ignores the others. This one takes a little of each,
# so it has a slope everywhere, and can learn **where to look**.
#
# ## All questions at once
#
# With a row for each place, $Q$ is $(T, d)$, and so are $K$ and $V$. The scores are divided by
# $\sqrt{d}$: a dot product of $d$ independent numbers of size one has the size $\sqrt{d}$, and
# large scores would make the softmax hard and flat.
#
# $$S_{ts} = \frac{1}{\sqrt{d}} \sum_i Q_{ti} K_{si}, \qquad P_{ts} = \frac{e^{S_{ts}}}
# {\sum_r e^{S_{tr}}}, \qquad Y_{tj} = \sum_s P_{ts} V_{sj}$$
#
# ## Backward, index by index
#
# $V_{sj}$ appears in $Y_{tj}$ for **every** $t$, with the factor $P_{ts}$. And $P_{ts}$ appears in
# $Y_{tj}$ for every $j$, with $V_{sj}$:
#
# $$dV_{sj} = \sum_t P_{ts}\, dY_{tj}, \qquad dP_{ts} = \sum_j dY_{tj}\, V_{sj}$$
#
# The softmax of row $t$: lesson 10 gives $\partial P_{tr} / \partial S_{ts} = P_{tr}
# (\mathbf{1}_{r=s} - P_{ts})$. Sum over $r$, since $S_{ts}$ changes all of the row:
#
# $$dS_{ts} = \sum_r dP_{tr} P_{tr} (\mathbf{1}_{r=s} - P_{ts})
# = P_{ts} \Big(dP_{ts} - \sum_r dP_{tr} P_{tr}\Big)$$
#
# And the scores are a product of two matrices, so each factor gets the other:
#
# $$dQ_{ti} = \frac{1}{\sqrt{d}} \sum_s dS_{ts} K_{si}, \qquad
# dK_{si} = \frac{1}{\sqrt{d}} \sum_t dS_{ts} Q_{ti}$$
#
# In matrices: which index is summed, and where does it stand?


# %%
def attention(Q, K, V, dY, hidden=None):
    scale = Q.shape[1] ** -0.5
    S = Q @ K.T * scale  # (T, T)
    if hidden is not None:
        S = np.where(hidden, -1e9, S)
    P = softmax(S)
    Y = P @ V  # (T, d)
    dV = P.T @ dY  # t is summed: first in P
    dP = dY @ V.T  # j is summed: last in V
    dS = P * (dP - (dP * P).sum(axis=1, keepdims=True))
    dQ = dS @ K * scale  # s is summed: as it stands
    dK = dS.T @ Q * scale  # t is summed: first in dS
    return {"Y": Y, "Q": dQ, "K": dK, "V": dV}


rng = np.random.default_rng(20)
T, d = 5, 4
Q, K, V, dY = (rng.normal(size=(T, d)) for _ in range(4))
ours, rounding = attention(Q, K, V, dY), gauged(attention, Q, K, V, dY)


def by_layer(Q, K, V, dY, causal=False):
    layer = manual.ScaledDotProductAttention(is_causal=causal)
    Y, cache = layer.forward(Q, K, V)
    return {"Y": Y, **dict(zip("QKV", layer.backward(dY, cache)[0], strict=False))}


def by_torch(Q, K, V, dY, causal=False):
    leaves = [torch.tensor(a, requires_grad=True) for a in (Q, K, V)]
    Y = torch.nn.functional.scaled_dot_product_attention(*leaves, is_causal=causal)
    Y.backward(torch.tensor(dY))
    return {"Y": Y, **{n: leaf.grad for n, leaf in zip("QKV", leaves, strict=True)}}


same_all(ours, by_layer(Q, K, V, dY), rounding, name="manual.ScaledDotProductAttention")
same_all(ours, by_torch(Q, K, V, dY), rounding)

# %% [markdown]
# ## Do not look ahead
#
# A model that guesses the next word must not see it. So the scores of later places are set to
# $-\infty$ before the softmax, and their weights are exactly 0. What is their gradient?
# $P_{ts} = 0$ is a factor of $dS_{ts}$: nothing goes there.

# %%
later = np.triu(np.ones((T, T), dtype=bool), k=1)
masked = attention(Q, K, V, dY, later)
weights = softmax(np.where(later, -1e9, Q @ K.T * d**-0.5))
table({"place": range(1, T + 1), **{f"looks at {s + 1}": weights[:, s].round(3) for s in range(T)}})
assert (weights[later] == 0).all()
same_all(masked, by_torch(Q, K, V, dY, causal=True), gauged(attention, Q, K, V, dY, later),
         name="causal, torch")  # fmt: skip
same_all(by_layer(Q, K, V, dY, causal=True), masked, gauged(attention, Q, K, V, dY, later),
         name="causal, manual")  # fmt: skip

# %% [markdown]
# ## Why $\sqrt{d}$
#
# Take random queries and keys with more and more features, with and without the division. How much
# of a gradient comes through the softmax?

# %%
sizes = [4, 16, 64, 256, 1024]
through = {"divided by √d": [], "not divided": []}
for size in sizes:
    raw = rng.normal(size=(200, 8, size)) @ rng.normal(size=(200, size, 1))
    for name, divisor in zip(through, (size**0.5, 1.0), strict=True):
        P = softmax(raw[..., 0] / divisor)
        through[name].append(float(np.mean(P * (1 - P))))  # the slope of a weight in its own score
with figure("The softmax's mean slope: hard choices have none", xlabel="features d", xscale="log",
            xticks=sizes, xticklabels=sizes, ylabel="P (1 - P)") as axes:  # fmt: skip
    axes.set_ylim(0, 0.12)
    for name, slopes in through.items():
        axes.plot(sizes, slopes, "o-", label=name)
assert through["divided by √d"][-1] > 0.05 > 0.02 > through["not divided"][-1]

# %% [markdown]
# ## Several heads
#
# In a real layer, queries, keys and values are three linear maps of the same input $x$: $x$ is used
# three times, so three gradients add. **Heads** cut the features into parts, and each part looks
# where it likes; a last linear map mixes what they found. We write it with what we have.


# %%
def heads(x, W_in, b_in, W_out, b_out, dy, h=2):
    E = x.shape[1]
    q, k, v = (x @ W_in[i * E : (i + 1) * E].T + b_in[i * E : (i + 1) * E] for i in range(3))
    parts = [slice(i * E // h, (i + 1) * E // h) for i in range(h)]
    nothing = 0.0 * x[:, parts[0]]
    found = [attention(q[:, p], k[:, p], v[:, p], nothing)["Y"] for p in parts]
    together = np.concatenate(found, axis=1)
    y = together @ W_out.T + b_out
    dtogether = dy @ W_out
    back = [attention(q[:, p], k[:, p], v[:, p], dtogether[:, p]) for p in parts]
    dqkv = np.concatenate([b[name] for name in "QKV" for b in back], axis=1)  # (T, 3E)
    return {"y": y, "x": dqkv @ W_in,
            "in_proj_weight": dqkv.T @ x, "in_proj_bias": dqkv.sum(axis=0),
            "out_proj.weight": dy.T @ together, "out_proj.bias": dy.sum(axis=0)}  # fmt: skip


E = 6
x, dy = rng.normal(size=(T, E)), rng.normal(size=(T, E))
own = {"in_proj_weight": rng.normal(size=(3 * E, E)), "in_proj_bias": rng.normal(size=3 * E),
       "out_proj.weight": rng.normal(size=(E, E)), "out_proj.bias": rng.normal(size=E)}  # fmt: skip
ours, rounding = heads(x, *own.values(), dy), gauged(heads, x, *own.values(), dy)
layer = manual.MultiheadAttention(E, 2, need_weights=False).with_params(own)
y, cache = layer.forward(x, x, x)
inputs, grads = layer.backward(dy, cache)
same_all(ours, {"y": y, "x": sum(inputs[:3]), **{n: grads[n] for n in own}}, rounding,
         name="manual.MultiheadAttention")  # fmt: skip
twin = torch.nn.MultiheadAttention(E, 2).double()
twin.load_state_dict({n: torch.tensor(p) for n, p in own.items()})
t_x = torch.tensor(x, requires_grad=True)
t_y, _ = twin(t_x, t_x, t_x, need_weights=False)
t_y.backward(torch.tensor(dy))
same_all(ours, {"y": t_y, "x": t_x.grad, **{n: p.grad for n, p in twin.named_parameters()}},
         rounding)  # fmt: skip

# %% [markdown]
# That is the heart of a Transformer. A small GPT, made of such layers, is in lesson 25; one that
# writes verses is `handgrad run tiny-gpt`.
#
# ## What changed in the code
#
# From a mean with fixed weights to one whose weights are computed: the weights get a gradient, too,
# and hand it on to queries and keys.


# %%
def fixed_mean(P, V, dY):
    Y = P @ V  # (T, d)
    dV = P.T @ dY  # t is summed: first in P
    return {"Y": Y, "V": dV}


def soft_look_up(Q, K, V, dY):
    scale = Q.shape[1] ** -0.5
    P = softmax(Q @ K.T * scale)
    Y = P @ V  # (T, d)
    dV = P.T @ dY  # t is summed: first in P
    dP = dY @ V.T
    dS = P * (dP - (dP * P).sum(axis=1, keepdims=True))
    dQ = dS @ K * scale
    dK = dS.T @ Q * scale
    return {"Y": Y, "Q": dQ, "K": dK, "V": dV}


code_diff(fixed_mean, soft_look_up, names=("a mean", "attention"))

# %% [markdown]
# ## What torch now does for you
#
# Written out, four nodes. (`scaled_dot_product_attention` is all of them in one, faster and with
# less memory.)

# %%
leaves = {n: torch.tensor(a, requires_grad=True) for n, a in (("Q", Q), ("K", K), ("V", V))}
t_Y = torch.softmax(leaves["Q"] @ leaves["K"].mT * d**-0.5, dim=1) @ leaves["V"]
grad_fn_table(
    t_Y,
    soft_look_up,
    [
        ("Mm", "dV = P.T @ dY", "dP = dY @ V.T"),
        ("AccumulateGrad", '"V": dV'),
        ("Softmax", "dS = P * (dP - (dP * P).sum(axis=1, keepdims=True))"),
        ("Mul", "* scale"),
        ("Mm", "dQ = dS @ K * scale", "dS.T @ Q"),
        ("AccumulateGrad", '"Q": dQ'),
        ("Transpose", "(back to K)"),
        ("AccumulateGrad", '"K": dK'),
    ],
    leaves,
)
t_Y.backward(torch.tensor(dY))
found = soft_look_up(Q, K, V, dY)
same_all({n: found[n] for n in leaves}, {n: leaf.grad for n, leaf in leaves.items()},
         gauged(soft_look_up, Q, K, V, dY))  # fmt: skip

# %% [markdown]
# ## Your turn
#
# **An exercise.** Both sides of a softmax.
#
# ```sh
# handgrad exercise start attention_head
# handgrad exercise grade attention_head.py
# ```
#
# **On paper.** All scores of a row are equal. What is the output, and which gradient do the
# values get?
#
# <details><summary>Answer</summary>
#
# The mean of the $S$ values; each value gets $1/S$ of the output's gradient.
#
# </details>
#
# **Find the mistake.** Somebody's `attention_head` has this piece of code. What of the scores'
# way back is missing, and which gradients are wrong?
#
# ```python
# ds = ds
# ```
#
# <details><summary>Answer</summary>
#
# The scores were divided by $\sqrt{D}$. The queries' and the keys' gradients are too large by
# $\sqrt{D}$; the values' are right.
#
# </details>
