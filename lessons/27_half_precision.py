# %% [markdown]
# # 27 · Half precision, and the scale of a loss
#
# Sixteen bits hold a number in half the memory, and a processor multiplies them twice as fast or
# more. What is lost is range or digits. We see gradients vanish in float16 and weights stand still
# in bfloat16, derive the cure (scale the loss, keep the weights in float32), and compare a whole
# network with torch's in both formats.

# %% tags=["hide-input"]
import numpy as np
import torch

import compare
from compare.gauge import FORMATS
from manual.scaling import LossScaler
from teach.kit import code_diff, gauged, grad_fn_table, same, table

# %% [markdown]
# ## Four formats
#
# A float of $p$ binary digits rounds by at most $u = 2^{-p}$ of itself, the **unit roundoff**. Its
# exponent gives it a largest number and a smallest normal one; below that lie subnormal numbers of
# ever fewer digits, and then nothing. bfloat16 is float32 with sixteen digits cut off: the same
# range, eight digits. float16 has eleven digits and a short range.

# %%
shown = ("float64", "float32", "float16", "bfloat16")
table(
    {
        "format": list(shown),
        "digits p": [1 - int(np.log2(torch.finfo(getattr(torch, n)).eps)) for n in shown],
        "u": [FORMATS[n].unit for n in shown],
        "largest": [f"{FORMATS[n].largest:.6g}" for n in shown],
        "smallest normal": [FORMATS[n].tiny for n in shown],
    }
)
for name in shown:
    info = torch.finfo(getattr(torch, name))
    assert (info.eps, info.max, info.tiny) == (
        2 * FORMATS[name].unit, FORMATS[name].largest, FORMATS[name].tiny,
    )  # fmt: skip

# %% [markdown]
# ## A gradient that vanishes
#
# A linear unit $y = Xw$ with the squared error $L = \frac{1}{N} \sum_n (y_n - t_n)^2$. By hand
#
# $$\frac{\partial L}{\partial w} = X^\top \delta, \qquad \delta = \frac{2}{N} (y - t)$$
#
# in float16, with the small numbers of a nearly finished training: inputs around 0.01 and errors
# $y - t$ around 0.00003.


# %%
def gradient(x, error):
    delta = error * x.dtype.type(2 / len(x))
    return x.T @ delta


rng = np.random.default_rng(27)
x = (0.01 * rng.normal(size=(64, 3))).astype(np.float16)
error = (3e-5 * rng.normal(size=64)).astype(np.float16)
wide = (x.astype(np.float64), error.astype(np.float64))
in_double, in_half = gradient(*wide), gradient(x, error)
lost = np.abs(in_half - in_double) / np.abs(in_double)
table({"in float64": in_double, "in float16": in_half.astype(float), "relative error": lost})
print("the smallest number of float16:", 2.0**-24)
assert lost.max() > 0.2

# %% [markdown]
# Each $\delta_n$ is around $10^{-6}$ and each term of the sum around $10^{-8}$:
# float16 has nothing below $6 \cdot 10^{-8}$. The digits were lost **on the way**, before any
# optimiser saw them.
#
# ## Scale the loss
#
# Backward is linear in the upstream gradient. With $L' = S L$ every gradient, of every value on the
# way, is $S$ times what it was:
#
# $$\frac{\partial L'}{\partial v} = S \frac{\partial L}{\partial v}$$
#
# So start backward from $S$ instead of 1, and divide by $S$ at the very end, in float32. With $S$ a
# power of two both only move the exponent: exact, except where a number crosses the border of the
# format, and that is what it is for.


# %%
def scaled_gradient(x, error, scale):
    delta = error * x.dtype.type(scale * 2 / len(x))
    return (x.T @ delta).astype(np.float32) / np.float32(scale)


SCALE = 2.0**14
by_scale = scaled_gradient(x, error, SCALE)
kept = np.abs(by_scale - in_double) / np.abs(in_double)
table({"in float64": in_double, "float16, scaled": by_scale, "relative error": kept})
exact = scaled_gradient(*wide, SCALE)
same("in float64 the scale changes nothing", exact, in_double.astype(np.float32))
assert kept.max() < 8 * FORMATS["float16"].unit

# %% [markdown]
# ## Which scale?
#
# The larger the better, until something exceeds 65,504. That is not known before, so it is tried:
# after an overflow the step is left out and $S$ is halved; after many steps without, it is doubled.
# `manual.scaling.LossScaler` is that and no more.

# %%
scaler = LossScaler(scale=2.0**36, growth_interval=3)
rows = []
for step in range(12):
    with np.errstate(over="ignore", invalid="ignore"):
        delta = (error.astype(np.float32) * np.float32(scaler.scale * 2 / 64)).astype(x.dtype)
        scaled = (x.T @ delta).astype(np.float32)
    unscaled, found_inf = scaler.unscale({"w": scaled})
    rows.append((step, scaler.scale, float(np.abs(scaled).max()), found_inf))
    scaler = scaler.after(found_inf)
steps, scales, largest, left_out = map(list, zip(*rows, strict=True))
table(
    {
        "step": steps,
        "scale": scales,
        "largest scaled gradient": largest,
        "left out": left_out,
    }
)
assert [row[3] for row in rows[:4]] == [True, True, False, False]

# %% [markdown]
# ## Weights that stand still
#
# bfloat16 has no such trouble: its range is float32's. It has eight digits instead, and an update
# smaller than half of the last one is rounded away. A hundred steps of 0.001 on a weight of 1:

# %%
one = torch.tensor(1.0, dtype=torch.bfloat16)
master = torch.tensor(1.0)
for _ in range(100):
    one, master = one - 0.001, master - 0.001
print("after 100 steps of 0.001: bfloat16", one.item(), "and float32", round(master.item(), 4))
assert one.item() == 1.0
assert abs(master.item() - 0.9) < 1e-5

# %% [markdown]
# So **master weights** are kept in float32, and a copy of them is rounded for every forward pass:
# that is torch's `autocast`. Products go in half precision, and what needs digits (the loss, the
# update) stays in float32.
#
# ## One rounding for a whole sum
#
# Does a sum of 4096 products make 4096 roundings? Not where torch adds in float32 and rounds the
# result: then it is one, of the result. That is what a tolerance for these formats has to know.

# %%
generator = torch.Generator().manual_seed(27)
a, b = (torch.randn(8, 4096, generator=generator).bfloat16() for _ in range(2))
product, true = (a @ b.T).double(), a.double() @ b.double().T
roundings = ((product - true).abs() / (FORMATS["bfloat16"].unit * true.abs())).max().item()
print(
    "the largest error of 64 sums of 4096 products, in roundings of the sum:", round(roundings, 2)
)
assert 0.5 < roundings <= 1.05

# %% [markdown]
# ## A whole network, compared
#
# The hand-written side runs in float64, torch in the half. Over a whole network their roundings
# would add up and hide mistakes, so both sides meet at **every value**: each layer is given the
# numbers that torch had there, and only its own roundings are allowed for. Right code agrees; a
# factor of 1.05 in one layer's backward does not.

# %%
found = []
for name in ("bfloat16", "float16"):
    for plant in (None, "2.weight.grad*=1.05"):
        report = compare.run("digits", dtype=name, steps=2, plant=plant, compare__drift=False)
        where = report.first_divergence
        told = f"{where.layer}.{where.quantity}" if where else ""
        found.append((name, plant or "nothing", report.verdict, told))
table(dict(zip(("format", "planted", "verdict", "where"), zip(*found, strict=True), strict=True)))
assert [verdict for *_, verdict, _ in found] == ["agree", "disagree"] * 2
assert {where for *_, where in found} == {"", "2.grad:weight"}

# %% [markdown]
# And with autocast and a scaled loss, whose scale is compared as well, step by step:

# %%
report = compare.run(
    "digits", dtype="float16", steps=6, compare__drift=False,
    train__autocast=True, train__scaler={"init_scale": 2.0**22, "growth_interval": 2},
)  # fmt: skip
print(report.verdict, "·", report.notes[-1])
assert report.verdict == "agree"

# %% [markdown]
# ## What changed in the code
#
# Two numbers: the scale that backward starts from, and the division at its end.

# %%
code_diff(gradient, scaled_gradient, names=("plain", "scaled"))

# %% [markdown]
# ## What torch now does for you
#
# `GradScaler.scale` multiplies the loss, one node more on the tape; `unscale_` divides, `step`
# looks for inf, `update` moves the scale. The chain is the old one, with a multiplication on top.


# %%
def by_hand(x, w, t, scale):
    dloss = scale
    error = x @ w - t
    derror = dloss * 2 * error / len(x)
    dw = x.T @ derror
    return dw / scale


w, t = rng.normal(size=3), rng.normal(size=64)
leaf, inputs = torch.tensor(w, requires_grad=True), torch.tensor(wide[0])
theirs = torch.amp.GradScaler("cpu", init_scale=SCALE)
loss = theirs.scale(((inputs @ leaf - torch.tensor(t)) ** 2).mean())
grad_fn_table(
    loss,
    by_hand,
    [
        ("Mul", "dloss = scale"),
        ("Mean", "/ len(x)"),
        ("Pow", "2 * error"),
        ("Sub", "error = x @ w - t"),
        ("Mv", "dw = x.T @ derror"),
        ("AccumulateGrad", "(the gradient of w)"),
    ],
    {"w": leaf},
)
loss.backward()
theirs.unscale_(torch.optim.SGD([leaf], lr=0.1))
ours = by_hand(wide[0], w, t, SCALE)
same("the unscaled gradient", ours, leaf.grad, gauged(by_hand, wide[0], w, t, SCALE))

# %% [markdown]
# ## Your turn
#
# **An exercise.** A loss that is written so that nothing overflows.
#
# ```sh
# handgrad exercise start bce
# handgrad exercise grade bce.py
# ```
#
# **On paper.** The smallest float16 above 0 is $2^{-24}$. A gradient of $10^{-8}$ is lost. Which
# power of two as the loss's scale saves it?
#
# <details><summary>Answer</summary>
#
# $10^{-8} \approx 2^{-26.6}$. Times $2^2$ it is no longer rounded to zero; for all of its digits
# it must be $2^{-14}$ or more, so $2^{13}$.
#
# </details>
#
# **Find the mistake.** Somebody's `bce` has this piece of code. What does the descent do?
#
# ```python
# dout * (y - p) / len(y)
# ```
#
# <details><summary>Answer</summary>
#
# The sign is wrong: it climbs.
#
# </details>
