# %% [markdown]
# # 25 · A small GPT, mirrored
#
# A language model as people write it today, in torch and with nobody's library, is taken apart call
# by call. A hand-written layer stands for each, so every gradient of the model is derived by hand
# and compared with autograd's; and a backward pass that somebody wrote into it is checked, too.

# %% tags=["hide-input"]
from collections import Counter

import numpy as np
import torch
from torch import nn

import handgrad
from teach.kit import code_diff, gauged, grad_fn_table, same, same_all, table

# %%
TEXT = "by hand, then by machine, then by hand again "
LETTERS = sorted(set(TEXT))
tokens = torch.tensor([LETTERS.index(letter) for letter in TEXT]).view(3, 15)
ids, targets = tokens[:, :-1], tokens[:, 1:]  # (B, T): the next letter is to be guessed
WIDTH, LENGTH = 16, ids.shape[1]

# %% [markdown]
# ## The model
#
# Letters and their positions are looked up and added. Each block lets a letter look at those
# before it (attention), then two linear layers work on what it saw; both are added to what was
# there. The head that guesses the next letter has the embedding's own table as its weight.


# %%
def attention(q, k, v):
    scores = q @ k.mT * WIDTH**-0.5  # (B, T, T)
    future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    return torch.softmax(scores.masked_fill(future, -torch.inf), dim=-1) @ v


class Block(nn.Module):
    def __init__(self, attend):
        super().__init__()
        self.attend = attend
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 32), nn.GELU(), nn.Linear(32, WIDTH))

    def forward(self, x):
        x = x + self.out(self.attend(*self.qkv(self.norm1(x)).chunk(3, dim=-1)))
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    def __init__(self, attend=attention):
        super().__init__()
        self.letters = nn.Embedding(len(LETTERS), WIDTH)
        self.positions = nn.Embedding(LENGTH, WIDTH)
        self.blocks = nn.ModuleList([Block(attend), Block(attend)])
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, len(LETTERS), bias=False)
        self.head.weight = self.letters.weight  # tied

    def forward(self, ids, targets):
        x = self.letters(ids) + self.positions(torch.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        logits = self.head(self.norm(x))
        return nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


torch.manual_seed(14)
model = GPT()

# %% [markdown]
# ## Its mirror
#
# `handgrad.mirror` runs the model once and notes every call: a layer of `torch.nn`, a function, an
# operator. Each gets the hand-written layer that stands for it. Then the hand-written graph and the
# model itself run side by side, and every value and every gradient is compared.
#
# This is the last step of the move (lesson 24), and the way back to its beginning: a language model
# is a graph of gates (lesson 3). The table counts them, and says where each was met.

# %%
report = handgrad.mirror(model, (ids, targets))
print(report.verdict, report.coverage)
pieces = Counter(node.type for node in report.nodes)
taught = {
    "Embedding": "a look-up: below",
    "AddGate": "3: it distributes",
    "MultiplyConstantGate": "3: it switches",
    "MatMulGate": "5: a product of matrices",
    "Linear": "5: a product of matrices",
    "GELU": "7: an activation",
    "Softmax": "20: what to look at",
    "WhereGate": "20: do not look ahead",
    "SplitGate": "20: queries, keys, values",
    "Transpose": "8: where it comes from",
    "ReshapeGate": "the same numbers in another shape",
    "LayerNorm": "a mean and a division (exercise `batch_norm`)",
    "CrossEntropyLoss": "10: ŷ − y",
}
table(
    {
        "hand-written": [f"`{name}`" for name in pieces],
        "calls": list(pieces.values()),
        "lesson": [taught[name] for name in pieces],
    }
)
assert set(pieces) == set(taught)
print(report.ledger[["quantity", "tensors", "elements"]].to_string(index=False))
assert report.agrees
assert report.coverage["gradients"] == 1  # nothing was left to torch

# %% [markdown]
# Training is mirrored step by step: forward, backward, AdamW's update and AdamW's moments.

# %%
adam = torch.optim.AdamW(model.parameters(), lr=0.01)
trained = handgrad.mirror(model, (ids, targets), optimizer=adam, steps=3)
print(trained.verdict, trained.losses["torch"].round(4).tolist())
assert trained.agrees
assert trained.losses["torch"].is_monotonic_decreasing

# %% [markdown]
# ## One table, two uses
#
# The tied table $E$ is read by the look-up, $x_t = E_{i_t}$, and multiplied by the head,
# $z_t = E h_t$. What is used twice gets the sum of two gradients:
#
# $$\frac{\partial J}{\partial E} = \sum_t \frac{\partial J}{\partial z_t} h_t^\top
# + \sum_t e_{i_t} \left(\frac{\partial J}{\partial x_t}\right)^\top$$
#
# with $e_i$ the one-hot column of letter $i$. Both terms, from what torch tells at $x$ and $z$:

# %%
model.double()
seen = {}
hooks = [
    model.letters.register_forward_hook(lambda m, i, x: seen.update(x=x)),
    model.head.register_forward_hook(lambda m, i, z: seen.update(h=i[0], z=z)),
]
loss = model(ids, targets)
dx, dz = torch.autograd.grad(loss, [seen["x"], seen["z"]], retain_graph=True)
loss.backward()
for hook in hooks:
    hook.remove()


def tied(dz, h, one_hot, dx):
    return dz.T @ h + one_hot.T @ dx


dz, h, dx = (t.detach().flatten(0, 1).numpy() for t in (dz, seen["h"], dx))  # (B T, ·)
given = (dz, h, np.eye(len(LETTERS))[ids.flatten()], dx)
same("dE, head and look-up", tied(*given), model.letters.weight.grad, gauged(tied, *given))
assert not np.allclose(dz.T @ h, model.letters.weight.grad)  # the head's alone

# %% [markdown]
# ## A backward pass of one's own
#
# Attention is where memory goes, so people write its backward pass themselves, as an
# `autograd.Function`. With $S = Q K^\top / \sqrt{d}$, $P = \operatorname{softmax}(S)$, $Y = P V$:
#
# $$\begin{aligned} dV &= P^\top dY & dP &= dY\, V^\top \\
# dS_{ij} &= P_{ij} \Big( dP_{ij} - \sum_k dP_{ik} P_{ik} \Big) &
# dQ &= \frac{dS\, K}{\sqrt{d}} \quad dK = \frac{dS^\top Q}{\sqrt{d}} \end{aligned}$$
#
# The mirror sees through such a Function: it derives the gradient from the forward pass and holds
# the backward pass against it. The sum is easily forgotten; then the mirror names the class.


# %%
class Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v):
        scores = q @ k.mT * WIDTH**-0.5
        future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        p = torch.softmax(scores.masked_fill(future, -torch.inf), dim=-1)
        ctx.save_for_backward(q, k, v, p)
        return p @ v

    @staticmethod
    def backward(ctx, dy):
        q, k, v, p = ctx.saved_tensors
        dp = dy @ v.mT
        ds = p * (dp - (dp * p).sum(-1, keepdim=True))
        ds = ds * WIDTH**-0.5
        return ds @ k, ds.mT @ q, p.mT @ dy


class Forgetful(Attention):
    @staticmethod
    def backward(ctx, dy):
        q, k, v, p = ctx.saved_tensors
        dp = dy @ v.mT
        ds = p * dp
        ds = ds * WIDTH**-0.5
        return ds @ k, ds.mT @ q, p.mT @ dy


right = handgrad.mirror(GPT(Attention.apply), (ids, targets))
wrong = handgrad.mirror(GPT(Forgetful.apply), (ids, targets))
table({"backward": ["Attention", "Forgetful"], "verdict": [right.verdict, wrong.verdict]})
print("first wrong:", wrong.first_divergence.layer)
assert right.agrees
assert wrong.verdict == "disagree"
assert wrong.first_divergence.layer_type == "Forgetful"

# %% [markdown]
# ## What changed in the code
#
# One sum: every probability of a row depends on every score of it.

# %%
code_diff(Forgetful.backward, Attention.backward, names=("Forgetful", "Attention"))

# %% [markdown]
# ## What torch now does for you
#
# Without the Function autograd records these nodes, each with its line of our backward pass.

# %%
q, k, v = (torch.randn(5, WIDTH, dtype=torch.double, requires_grad=True) for _ in range(3))
leaves = {"q": q, "k": k, "v": v}
y, own = attention(q, k, v), Attention.apply(q, k, v)
grad_fn_table(
    y,
    Attention.backward,
    [
        ("Mm", "dp = dy @ v.mT", "p.mT @ dy"),
        ("AccumulateGrad", "(the gradient of v)"),
        ("Softmax", "ds = p * (dp - (dp * p).sum(-1, keepdim=True))"),
        ("MaskedFill", "(p is 0 there, and so is ds)"),
        ("Mul", "ds = ds * WIDTH**-0.5"),
        ("Mm", "ds @ k", "ds.mT @ q"),
        ("AccumulateGrad", "(the gradient of q)"),
        ("Transpose", "(back to k)"),
        ("AccumulateGrad", "(the gradient of k)"),
    ],
    leaves,
)
dy = torch.randn_like(y)
theirs, ours = (torch.autograd.grad(out, list(leaves.values()), dy) for out in (y, own))


def by_hand(q, k, v, dy):
    scores = np.where(np.tri(len(q), dtype=bool), q @ k.T * WIDTH**-0.5, -1e9)
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    p = p / p.sum(axis=1, keepdims=True)
    dp = dy @ v.T
    ds = p * (dp - (dp * p).sum(axis=1, keepdims=True)) * WIDTH**-0.5
    return ds @ k, ds.T @ q, p.T @ dy


errors = gauged(by_hand, *(t.detach().numpy() for t in (q, k, v, dy)))
same_all(dict(zip("qkv", ours, strict=True)), dict(zip("qkv", theirs, strict=True)),
         dict(zip("qkv", errors, strict=True)))  # fmt: skip

# %% [markdown]
# ## Your turn
#
# **An exercise.** The heart of the GPT.
#
# ```sh
# handgrad exercise start attention_head
# handgrad exercise grade attention_head.py
# ```
#
# **On paper.** A table is used for tokens and, transposed, for the scores at the end. How many
# shares has its gradient?
#
# <details><summary>Answer</summary>
#
# Two, one from each use, and they add (lesson 4).
#
# </details>
#
# **Find the mistake.** Somebody's `attention_head` has this piece of code. Which sequence length
# would hide it?
#
# ```python
# dv = (a / len(a)).T @ dout
# ```
#
# <details><summary>Answer</summary>
#
# One: it divides by the number of queries.
#
# </details>
