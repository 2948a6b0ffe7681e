# %% [markdown]
# # 1 · A loss, its slope, one step down
#
# Learning means: make a number smaller. The number says how wrong we are. Its slope says which way
# is down. We take one step down, look, and take the next. All that follows in this course is a
# better way to find the slope.

# %% tags=["hide-input"]
from itertools import pairwise

import numpy as np
import torch

from teach.kit import COLOURS, code_diff, figure, gauged, grad_fn_table, same, same_all, table

# %% [markdown]
# ## How wrong are we?
#
# A student learns for $x$ hours and gets $y$ points. Here are three students. We guess that the
# points are a multiple of the hours, $w x$, and look for a good $w$.

# %%
x = np.array([1.0, 2.0, 3.0])  # hours
y = np.array([2.0, 3.0, 7.0])  # points
w = np.array(1.0)  # a first guess
table({"hours x": x, "points y": y, "our guess w x": w * x, "error w x - y": w * x - y})

# %% [markdown]
# Every guess is too low. How bad is that, in one number? Take each error, square it (so that too
# high and too low both count, and large errors count most), and take the mean. This number is the
# **loss**:
#
# $$L(w) = \frac{(w \cdot 1 - 2)^2 + (w \cdot 2 - 3)^2 + (w \cdot 3 - 7)^2}{3}$$
#
# At $w = 1$ the errors are $-1$, $-1$ and $-4$, and the loss is $(1 + 1 + 16) / 3 = 6$.


# %%
def loss(w):
    error = w * x - y
    return np.mean(error * error)


same("the loss at w = 1", loss(w), 6.0)

# %% [markdown]
# Other values of $w$ have other losses. There is a lowest one. Where?

# %%
ws = np.linspace(-0.5, 4.5, 101)
losses = np.array([loss(each) for each in ws])
with figure("The loss of every w: a valley", xlabel="w", ylabel="L") as axes:
    axes.plot(ws, losses)
    axes.plot([1.0], [6.0], "o", label="we are here")

# %% [markdown]
# ## Which way is down?
#
# We cannot see the whole valley: with a million weights, nobody can. But we can ask a small
# question: if I make $w$ a little larger, does the loss rise or fall? Try it, with a step of
# 0.001.

# %%
step = 0.001
change = (loss(w + step) - loss(w)) / step
print(f"the loss changes by {change:.3f} times the step")

# %% [markdown]
# It falls, and steeply: about 10 times as far as we go. This number is the **slope** of the loss at
# $w = 1$. We measured it. Can we also calculate it? For one student, the derivative of
# $(w x - y)^2$ with respect to $w$ is $2 (w x - y) \cdot x$: *twice the error, times the input*. So
# the slope of the mean is
#
# $$L'(w) = \frac{2 (w \cdot 1 - 2) \cdot 1 + 2 (w \cdot 2 - 3) \cdot 2
# + 2 (w \cdot 3 - 7) \cdot 3}{3}$$
#
# At $w = 1$ that is $(-2 - 4 - 24) / 3 = -10$.


# %%
def slope(w):
    error = w * x - y
    return np.mean(2 * error * x)


same("the slope at w = 1", slope(w), -10.0)
print(f"measured {change:.3f}, derived {slope(w):.3f}")
assert abs(change - slope(w)) < 0.01

# %% [markdown]
# (Why not the same to the last digit? Lesson 2. In this course no number is to be believed because
# somebody wrote it down: each is computed by the code that you see, and `same` stops the lesson if
# two values that should be equal are not. How far rounding may take a value is what `gauged` says
# in some lines: that, too, is lesson 2.)
#
# ## One step
#
# The slope is negative, so down is to the right: **against** the slope. How far? As far as it is
# steep, times a small number $\eta$, the **learning rate**:
#
# $$w \leftarrow w - \eta\, L'(w)$$
#
# With $\eta = 0.1$ the step is $1 - 0.1 \cdot (-10) = 2$.

# %%
rate = 0.1
after = w - rate * slope(w)
same("w after one step", after, 2.0)
same("the loss there", loss(after), np.array(2 / 3), gauged(loss, np.array(after)))

# %% [markdown]
# One step, and the loss fell from 6 to $\frac{2}{3}$.
#
# ## Watch it fall
#
# Now do the same again, and again. The slope gets smaller near the bottom, so the steps do too.


# %%
def descend(loss_slope, w, rate, steps):
    path = [w]
    for _ in range(steps):
        w = w - rate * loss_slope(w)
        path.append(w)
    return path


path = descend(slope, w, rate, 5)
table({"step": range(6), "w": path, "slope": [slope(each) for each in path],
       "loss": [loss(each) for each in path]})  # fmt: skip
with figure("Five steps down the valley", xlabel="w", ylabel="L") as axes:
    axes.plot(ws, losses, color=COLOURS["muted"])
    axes.plot(path, [loss(each) for each in path], "o-", color=COLOURS["s2"], label="the way down")
assert all(loss(b) < loss(a) for a, b in pairwise(path))

# %% [markdown]
# Where does it end? Where the slope is zero. There $\sum_n (w x_n - y_n)\, x_n = 0$, so
#
# $$w = \frac{\sum_n x_n y_n}{\sum_n x_n^2} = \frac{2 + 6 + 21}{1 + 4 + 9} = \frac{29}{14}$$

# %%
best = np.sum(x * y) / np.sum(x * x)
same("the lowest point", best, 29 / 14, gauged(lambda x, y: np.sum(x * y) / np.sum(x * x), x, y))
far = descend(slope, w, rate, 40)[-1]
print(f"after 40 steps w = {far:.12f}, the lowest point is {best:.12f}")
assert abs(far - best) < 1e-12
assert loss(best) > 0  # three points on no line through 0: some error stays

# %% [markdown]
# ## Too small, too large
#
# The learning rate is ours to choose. What happens if it is very small? If it is large? Guess
# before you look.

# %%
rates = [0.01, 0.1, 0.2, 0.22]
paths = {each: descend(slope, w, each, 15) for each in rates}
with figure("Four learning rates", xlabel="step", ylabel="L", yscale="log", steps=True) as axes:
    for each, walked in paths.items():
        axes.plot([loss(at) - loss(best) + 1e-6 for at in walked], label=f"η = {each}")
table({"η": rates, "loss after 15 steps": [loss(walked[-1]) for walked in paths.values()]})
ends = [float(loss(walked[-1])) for walked in paths.values()]
assert ends[1] < ends[0] < loss(w)
assert ends[3] > loss(w)

# %% [markdown]
# With 0.01 it creeps. With 0.2 it jumps over the bottom to the other side, each time a little less.
# With 0.22 it jumps farther each time, and the loss **rises**. The border is here at
# $\eta = 3/14 = 0.214\dots$: each step multiplies the distance to the bottom by
# $1 - \frac{28}{3} \eta$, and that must stay between $-1$ and 1.

# %%
for each, walked in paths.items():
    factor = 1 - 28 / 3 * each
    measured = (walked[2] - best) / (walked[1] - best)
    assert abs(measured - factor) < 1e-9
print("factors per step:", [round(1 - 28 / 3 * each, 3) for each in rates])

# %% [markdown]
# ## Two weights
#
# Give the guess a second number, $w x + b$: what a student gets without learning. Now the loss is a
# landscape over two weights, and it has two slopes, one for each. Together they are the
# **gradient**. Each step moves both:
#
# $$\frac{\partial L}{\partial w} = \frac{1}{3} \sum_n 2 (w x_n + b - y_n)\, x_n, \qquad
# \frac{\partial L}{\partial b} = \frac{1}{3} \sum_n 2 (w x_n + b - y_n)$$


# %%
def line_loss(w, b):
    error = w * x + b - y
    return np.mean(error * error)


def line_gradient(w, b):
    error = w * x + b - y
    return {"w": np.mean(2 * error * x), "b": np.mean(2 * error)}


def one_step(w, b):
    found = line_gradient(w, b)
    return {"w": w - 0.1 * found["w"], "b": b - 0.1 * found["b"]}


w2, b2 = np.array(1.0), np.array(0.0)
walk = [(w2, b2)]
for _ in range(400):
    w2, b2 = one_step(w2, b2).values()
    walk.append((w2, b2))
print(f"w = {w2:.6f}, b = {b2:.6f}")
assert abs(w2 - 2.5) < 1e-3  # least squares: slope 5/2, through the middle point (2, 4)
assert abs(b2 + 1) < 1e-3

# %% tags=["hide-input"]
W, B = np.meshgrid(np.linspace(0.6, 3.4, 90), np.linspace(-2.6, 1.6, 90))
Z = np.mean((W[..., None] * x + B[..., None] - y) ** 2, axis=-1)
with figure("The loss surface from above: lines of equal loss, and the way down",
            xlabel="w", ylabel="b") as axes:  # fmt: skip
    axes.contour(W, B, Z, levels=np.geomspace(0.7, 25, 9), colors=COLOURS["d1"], linewidths=1)
    axes.plot(*zip(*walk, strict=True), ".-", color=COLOURS["s2"], label="the way down")
    axes.plot([2.5], [-1.0], "*", markersize=11, color=COLOURS["s3"], label="the lowest point")

# %% [markdown]
# The descent goes down fast, then slowly along the valley's floor. (Why it is a narrow valley, and
# what helps, is lesson 17; cleverer steps are lesson 16.)
#
# That is learning: a **loss**, its **gradient**, a **step**. A network has more weights and a
# longer formula, and nothing else changes. So one question is left for the next lessons: how does
# one find the gradient, and how does one know that it is right?
#
# ## What changed in the code
#
# From one weight to two: one more number in the guess, one more line in the gradient.

# %%
code_diff([loss, slope], [line_loss, line_gradient], names=("one weight", "two weights"))

# %% [markdown]
# ## What torch now does for you
#
# You write the loss; `backward()` finds the gradient. It notes each operation on the way forward
# and goes back through them in reverse. Beside each stands the part of our line that does the
# same. How it does that is what lessons 2 to 5 are about.

# %%
leaves = {"w": torch.tensor(1.0, dtype=torch.float64, requires_grad=True),
          "b": torch.tensor(0.0, dtype=torch.float64, requires_grad=True)}  # fmt: skip
t_error = leaves["w"] * torch.tensor(x) + leaves["b"] - torch.tensor(y)
t_loss = t_error.square().mean()
grad_fn_table(
    t_loss,
    line_gradient,
    [
        ("Mean", "np.mean(2 * error)"),
        ("Pow", "2 * error"),
        ("Sub", "(y is fixed: nothing to do)"),
        ("Add", '"b": np.mean(2 * error)'),
        ("AccumulateGrad", '"b": np.mean(2 * error)'),
        ("Mul", "2 * error * x"),
        ("AccumulateGrad", '"w": np.mean(2 * error * x)'),
    ],
    leaves,
)
t_loss.backward()
start = np.array(1.0), np.array(0.0)
same_all(line_gradient(*start), {n: leaf.grad for n, leaf in leaves.items()},
         gauged(line_gradient, *start))  # fmt: skip

descent = torch.optim.SGD(leaves.values(), lr=0.1)
descent.step()
same_all({"w": walk[1][0], "b": walk[1][1]}, leaves, gauged(one_step, *start), name="one step")

# %% [markdown]
# ## Your turn
#
# **An exercise.** Find the two slopes of a line's loss by yourself.
#
# ```sh
# handgrad exercise start descent
# handgrad exercise grade descent.py
# ```
#
# **On paper.** At $w = 2$ the errors of the three students are 0, 1 and $-1$. What is $L'(2)$,
# and where does a step with $\eta = 0.1$ lead?
#
# <details><summary>Answer</summary>
#
# $L'(2) = \frac{2}{3} (0 \cdot 1 + 1 \cdot 2 - 1 \cdot 3) = -\frac{2}{3}$, so $w$ becomes $2 +
# 0.0667 = 2.0667$, closer to $\frac{29}{14} = 2.0714$.
#
# </details>
#
# **Find the mistake.** Somebody's `descent` has this piece of code. The descent still goes down
# if $\eta$ is small. What is wrong, and when would you notice?
#
# ```python
# slope = 2 * error
# ```
#
# <details><summary>Answer</summary>
#
# The loss is a mean: $1/N$ is missing. The slope is $N$ times too steep, as if $\eta$ were $N$
# times as large; with more data the descent explodes.
#
# </details>
