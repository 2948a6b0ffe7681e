# %% [markdown]
# # 16 · Optimisers: from a gradient to a step
#
# A gradient says which way is down, not how far to go. Seven rules make a step of it: SGD,
# momentum, Nesterov, Adagrad, RMSprop, Adam and AdamW. We write each by hand, walk down the same
# small valley with it, let torch.optim walk beside us, and then look at three details that differ
# between programs: where Adam's ε goes, how weights decay, and where the learning rate stands.

# %% tags=["hide-input"]
import numpy as np
import torch

import manual
from teach.kit import (
    COLOURS,
    code_diff,
    figure,
    gauged,
    grad_fn_table,
    same,
    same_all,
    table,
)

# %% [markdown]
# ## A valley
#
# Two parameters, and a loss that is 25 times as steep in one as in the other:
#
# $$L(\theta) = \tfrac{1}{2} \left(\theta_1^2 + 25\, \theta_2^2\right), \qquad
# g = \nabla L = (\theta_1,\ 25\, \theta_2)$$

# %%
STEEPNESS = np.array([1.0, 25.0])
START = np.array([-4.0, 1.0])
STEPS = 40


def loss(theta):
    return 0.5 * (STEEPNESS * theta**2).sum()


def gradient(theta):
    return STEEPNESS * theta


# %% [markdown]
# ## Three that remember the direction
#
# Plain **SGD** goes against the gradient. **Momentum** goes along a direction $b$ in which earlier
# gradients fade; across the valley they cancel, along it they add up. **Nesterov** takes the new
# gradient in before it steps, as if it had looked one momentum step ahead.
#
# $$\begin{aligned}
# \text{SGD:} \quad & \theta \leftarrow \theta - \eta\, g \\
# \text{momentum:} \quad & b \leftarrow \mu b + g, & \theta &\leftarrow \theta - \eta\, b \\
# \text{Nesterov:} \quad & b \leftarrow \mu b + g, & \theta &\leftarrow \theta - \eta\, (g + \mu b)
# \end{aligned}$$


# %%
def sgd(theta, g, s, lr):
    return theta - lr * g


def momentum(theta, g, s, lr, mu=0.9):
    s["b"] = mu * s.get("b", 0.0) + g
    return theta - lr * s["b"]


def nesterov(theta, g, s, lr, mu=0.9):
    s["b"] = mu * s.get("b", 0.0) + g
    return theta - lr * (g + mu * s["b"])


# %% [markdown]
# ## Four that give every parameter its own rate
#
# **Adagrad** divides by the root of the sum of all squared gradients, so its rates only
# fall. **RMSprop** lets the old ones fade. **Adam** adds momentum, and corrects both averages
# for having begun at zero. **AdamW** shrinks the weights as well, outside all that.
#
# $$\begin{aligned}
# \text{Adagrad:} \quad & v \leftarrow v + g^2, & \theta &\leftarrow \theta - \eta\, g / (\sqrt{v} +
# \varepsilon) \\
# \text{RMSprop:} \quad & v \leftarrow \alpha v + (1 - \alpha) g^2, & \theta &\leftarrow \theta -
# \eta\, g / (\sqrt{v} + \varepsilon) \\
# \text{Adam:} \quad & m \leftarrow \beta_1 m + (1 - \beta_1) g, & \hat{m} &= m / (1 - \beta_1^t) \\
# & v \leftarrow \beta_2 v + (1 - \beta_2) g^2, & \hat{v} &= v / (1 - \beta_2^t), \quad
# \theta \leftarrow \theta - \eta\, \hat{m} / (\sqrt{\hat{v}} + \varepsilon)
# \end{aligned}$$


# %%
def adagrad(theta, g, s, lr, eps=1e-10):
    s["v"] = s.get("v", 0.0) + g * g
    return theta - lr * g / (np.sqrt(s["v"]) + eps)


def rmsprop(theta, g, s, lr, alpha=0.99, eps=1e-8):
    s["v"] = alpha * s.get("v", 0.0) + (1 - alpha) * g * g
    return theta - lr * g / (np.sqrt(s["v"]) + eps)


def adam(theta, g, s, lr, beta1=0.9, beta2=0.999, eps=1e-8, decay=0.0):
    g = g + decay * theta
    s["t"] = s.get("t", 0) + 1
    s["m"] = beta1 * s.get("m", 0.0) + (1 - beta1) * g
    s["v"] = beta2 * s.get("v", 0.0) + (1 - beta2) * g * g
    m_hat = s["m"] / (1 - beta1 ** s["t"])
    v_hat = s["v"] / (1 - beta2 ** s["t"])
    return theta - lr * m_hat / (np.sqrt(v_hat) + eps)


def adamw(theta, g, s, lr, beta1=0.9, beta2=0.999, eps=1e-8, decay=0.01):
    theta = theta - lr * decay * theta
    s["t"] = s.get("t", 0) + 1
    s["m"] = beta1 * s.get("m", 0.0) + (1 - beta1) * g
    s["v"] = beta2 * s.get("v", 0.0) + (1 - beta2) * g * g
    m_hat = s["m"] / (1 - beta1 ** s["t"])
    v_hat = s["v"] / (1 - beta2 ** s["t"])
    return theta - lr * m_hat / (np.sqrt(v_hat) + eps)


# %% [markdown]
# ## Seven walks, each beside torch.optim
#
# Forty steps from the same start. Nothing is re-synchronised on the way: a different formula would
# lead elsewhere. `manual`'s own optimisers, which networks use, walk too.


# %%
def walk(update, start, lr):
    path, state = [start], {}
    for _ in range(STEPS):
        path.append(update(path[-1], gradient(path[-1]), state, lr))
    return np.stack(path)


def walk_manual(optimizer, start):
    path, state = [start], {}
    for _ in range(STEPS):
        theta, state = optimizer.update(path[-1], gradient(path[-1]), state, optimizer.lr)
        path.append(theta)
    return np.stack(path)


def walk_torch(build, start):
    theta = torch.tensor(start, requires_grad=True)
    optimizer, path = build([theta]), [theta.detach().clone()]
    for _ in range(STEPS):
        optimizer.zero_grad()
        (0.5 * (torch.tensor(STEEPNESS) * theta.square()).sum()).backward()
        optimizer.step()
        path.append(theta.detach().clone())
    return torch.stack(path), optimizer.state[theta]


RULES = {
    "SGD": (sgd, "SGD", {"lr": 0.07}),
    "momentum": (momentum, "SGD", {"lr": 0.02, "momentum": 0.9}),
    "Nesterov": (nesterov, "SGD", {"lr": 0.02, "momentum": 0.9, "nesterov": True}),
    "Adagrad": (adagrad, "Adagrad", {"lr": 0.7}),
    "RMSprop": (rmsprop, "RMSprop", {"lr": 0.05}),
    "Adam": (adam, "Adam", {"lr": 0.3}),
    "AdamW": (adamw, "AdamW", {"lr": 0.3, "weight_decay": 0.01}),
}
paths = {}
for name, (update, kind, settings) in RULES.items():
    paths[name] = walk(update, START, settings["lr"])
    rounding = gauged(walk, update, START, settings["lr"])
    theirs, _ = walk_torch(lambda p: getattr(torch.optim, kind)(p, **settings), START)  # noqa: B023
    same(f"{name}, torch.optim", paths[name], theirs, rounding)
    same(f"{name}, manual", paths[name], walk_manual(getattr(manual, kind)(**settings), START),
         rounding)  # fmt: skip

# %%
across, along = np.meshgrid(np.linspace(-4.4, 1.6, 80), np.linspace(-1.2, 1.2, 60))
height = 0.5 * (across**2 + 25 * along**2)


def map_of(label, names):
    with figure(label, xlabel="θ1", ylabel="θ2") as axes:
        levels = [0.1, 0.5, 1.5, 3, 5.5, 9, 14]
        axes.contour(across, along, height, levels=levels, colors=COLOURS["muted"], linewidths=0.5)
        for number, name in enumerate(names, start=1):
            colour = COLOURS[f"s{number}"]
            axes.plot(*paths[name].T, color=colour, marker="o", markersize=2.5, label=name)


assert (paths["SGD"][1:10, 1] * paths["SGD"][:9, 1] < 0).all()  # it swings
map_of("Across the valley plain SGD swings; momentum swings too, and gains speed along it",
       ["SGD", "momentum", "Nesterov"])  # fmt: skip
map_of("A rate of its own for each parameter: both directions count the same at first",
       ["Adagrad", "RMSprop", "Adam"])  # fmt: skip
table(
    {
        "rule": list(paths),
        "η": [settings["lr"] for *_, settings in RULES.values()],
        "loss after 10": [float(loss(path[10])) for path in paths.values()],
        "loss after 40": [float(loss(path[40])) for path in paths.values()],
    }
)

# %% [markdown]
# ## The first step
#
# Adagrad and Adam divide the first gradient by its own size, so their first step is $\eta$ in every
# direction, however steep. RMSprop has no correction for its start: $\sqrt{1 - \alpha}$ is left in
# the denominator, and its first step is ten times $\eta$ at $\alpha = 0.99$.

# %%
steps = {name: paths[name][1] - paths[name][0] for name in paths}
table(
    {
        "rule": list(steps),
        "first step in θ1, × η": [s[0] / RULES[n][2]["lr"] for n, s in steps.items()],
        "first step in θ2, × η": [s[1] / RULES[n][2]["lr"] for n, s in steps.items()],
    }
)

for name, times in (("Adagrad", 1), ("Adam", 1), ("RMSprop", 10)):
    assert (np.abs(steps[name] / RULES[name][2]["lr"]).round(6) == times).all()

# %% [markdown]
# ## Where Adam's ε goes
#
# Three formulas are in use. Torch (and the paper's algorithm) adds $\varepsilon$ **after** the root
# of the **corrected** average. The paper's faster form, taken literally, adds it to the uncorrected
# root, and some code puts it under the root. They differ where gradients are small; the question is
# how small. The first step, for gradients of many sizes:


# %%
def first_step(g, place, beta1=0.9, beta2=0.999, eps=1e-8):
    """The first step of Adam in units of η, with ε in one of three places."""
    m, v = (1 - beta1) * g, (1 - beta2) * g * g
    m_hat, v_hat = m / (1 - beta1), v / (1 - beta2)
    if place == "after the root":
        return m_hat / (np.sqrt(v_hat) + eps)
    if place == "uncorrected":
        return (1 - beta2) ** 0.5 / (1 - beta1) * m / (np.sqrt(v) + eps)
    return m_hat / np.sqrt(v_hat + eps)


def first_step_torch(g):
    theta = torch.zeros(len(g), dtype=torch.float64, requires_grad=True)
    theta.grad = torch.tensor(g)
    torch.optim.Adam([theta], lr=1.0).step()
    return -theta


sizes = 10.0 ** np.arange(-12, 1)
PLACES = ("after the root", "uncorrected", "under the root")
in_torch = first_step_torch(sizes)
for place in PLACES:
    try:
        same(f"ε {place}, and torch", first_step(sizes, place), in_torch,
             gauged(first_step, sizes, place))  # fmt: skip
        torchs_place = place
    except AssertionError as error:
        print(f"not torch's: {error}")
assert torchs_place == "after the root"
with figure("How long Adam's first step is, by the size of the gradient and the place of ε",
            xlabel="log10 of the gradient's size", ylabel="step / η") as axes:  # fmt: skip
    for place in PLACES:
        axes.plot(np.log10(sizes), first_step(sizes, place), label=place)
table({"gradient": sizes[2:9:2], **{p: first_step(sizes[2:9:2], p) for p in PLACES}})

# %% [markdown]
# ## Weight decay, coupled and decoupled
#
# The penalty $\frac{\lambda}{2} \|\theta\|^2$ adds $\lambda \theta$ to the gradient: **coupled**.
# Or each step shrinks the weight by itself, $\theta \leftarrow (1 - \eta \lambda)\, \theta$:
# **decoupled**. For plain SGD this is one and the same. In Adam the coupled term is divided by
# $\sqrt{\hat{v}}$ with the rest: a weight whose gradients are large hardly decays. We give three
# weights gradients that only change sign, each a hundred times as large as the one before, and let
# them decay.

# %%
SIGNS = np.where(np.arange(200) % 2 == 0, 1.0, -1.0)
SCALES = np.array([0.01, 1.0, 100.0])


def decayed(update, start, decay, lr=0.01):
    theta, state = start, {}
    for sign in SIGNS:
        theta = update(theta, sign * SCALES, state, lr, decay=decay)
    return theta


def decayed_torch(build, start):
    theta = torch.tensor(start, requires_grad=True)
    optimizer = build([theta])
    for sign in SIGNS:
        theta.grad = torch.tensor(sign * SCALES)
        optimizer.step()
    return theta


ones, rate = np.ones(3), {"lr": 0.01, "weight_decay": 0.5}
coupled, decoupled = decayed(adam, ones, 0.5), decayed(adamw, ones, 0.5)
same("coupled: Adam", coupled, decayed_torch(lambda p: torch.optim.Adam(p, **rate), ones),
     gauged(decayed, adam, ones, 0.5))  # fmt: skip
same("decoupled: AdamW", decoupled, decayed_torch(lambda p: torch.optim.AdamW(p, **rate), ones),
     gauged(decayed, adamw, ones, 0.5))  # fmt: skip
shrunk = (1 - 0.01 * 0.5) ** len(SIGNS)
table(
    {
        "size of the gradients": SCALES,
        "left of 1 after 200 steps, coupled": coupled,
        "decoupled": decoupled,
        "(1 - η λ)^200": [shrunk] * 3,
    }
)
same("plain SGD: coupled and decoupled", sgd(ones, SCALES + 0.5 * ones, {}, 0.01),
     (1 - 0.01 * 0.5) * ones - 0.01 * SCALES,
     gauged(lambda theta: sgd(theta, SCALES + 0.5 * theta, {}, 0.01), ones))  # fmt: skip
assert coupled[2] > 0.9 > coupled[0]
assert np.ptp(decoupled) < 0.01 < np.ptp(coupled)

# %% [markdown]
# ## Schedules
#
# A schedule multiplies $\eta$ by a factor that depends on the step. With `StepLR` it falls by
# $\gamma$ every so many steps, with `CosineAnnealingLR` along half a cosine. Torch computes each
# rate from the one before; ours is the closed form, so that nothing has to be remembered.
#
# $$\gamma^{\lfloor t / n \rfloor}, \qquad
# f + (1 - f)\, \tfrac{1}{2} \left(1 + \cos \frac{\pi t}{T}\right)$$


# %%
def rates_torch(build):
    theta = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([theta], lr=1.0)
    schedule, rates = build(optimizer), []
    for _ in range(STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return np.array(rates)


def repeated(gamma):
    """γ^⌊t/10⌋ as torch finds it: by multiplying again and again."""
    rates = [gamma * 0 + 1]
    for t in range(1, STEPS):
        rates.append(rates[-1] * gamma if t % 10 == 0 else rates[-1])
    return np.stack(rates)


def recursion(cosines, f=0.1):
    """The cosine as torch finds it: each rate from the one before."""
    rates = [cosines[0] * 0 + 1]
    for t in range(1, STEPS):
        rates.append(f + (rates[-1] - f) * (1 + cosines[t]) / (1 + cosines[t - 1]))
    return np.stack(rates)


scheduler = torch.optim.lr_scheduler
falling, cosine = manual.Step(10, gamma=0.5), manual.Cosine(STEPS, min_factor=0.1)
step_rates = np.array([falling.factor(t) for t in range(STEPS)])
cosine_rates = np.array([cosine.factor(t) for t in range(STEPS)])
same("Step", step_rates, rates_torch(lambda o: scheduler.StepLR(o, 10, gamma=0.5)),
     gauged(repeated, np.array(0.5)))  # fmt: skip
same("Cosine", cosine_rates,
     rates_torch(lambda o: scheduler.CosineAnnealingLR(o, STEPS, eta_min=0.1)),
     gauged(recursion, np.cos(np.pi * np.arange(STEPS) / STEPS)))  # fmt: skip
with figure("The factor of the learning rate", steps=True, xlabel="step", ylabel="factor") as axes:
    axes.plot(step_rates, drawstyle="steps-post", label="Step")
    axes.plot(cosine_rates, label="Cosine")

# %% [markdown]
# Why fall at all? Mini-batch gradients are noisy, and a constant rate keeps jumping about the
# minimum. And note where $\eta$ stands: torch multiplies the direction when it is **used**. The
# form $b \leftarrow \mu b + \eta g$, $\theta \leftarrow \theta - b$ is the same walk while $\eta$
# is constant, and another one as soon as it changes.


# %%
def scheduled(start, rates, noise, inside):
    theta, b, path = start, 0.0, [start]
    for t in range(STEPS):
        g = gradient(theta) + noise[t]
        b = 0.9 * b + (rates[t] * g if inside else g)
        theta = theta - (b if inside else rates[t] * b)
        path.append(theta)
    return np.stack(path)


def scheduled_torch(start, rates, noise):
    theta = torch.tensor(start, requires_grad=True)
    optimizer, path = torch.optim.SGD([theta], lr=1.0, momentum=0.9), [theta.detach().clone()]
    for t in range(STEPS):
        theta.grad = torch.tensor(STEEPNESS) * theta.detach() + torch.tensor(noise[t])
        optimizer.param_groups[0]["lr"] = float(rates[t])
        optimizer.step()
        path.append(theta.detach().clone())
    return torch.stack(path)


noise = np.random.default_rng(11).normal(0, 3, size=(STEPS, 2))
constant, falling_rates = np.full(STEPS, 0.02), 0.02 * cosine_rates
for label, rates in (("constant", constant), ("cosine", falling_rates)):
    theirs = scheduled_torch(START, rates, noise)
    for inside in (False, True):
        case = START, rates, noise, inside
        name = f"{label} η: {'inside b' if inside else 'used at the step'}"
        try:
            same(name, scheduled(*case), theirs, gauged(scheduled, *case))
            agrees = True
        except AssertionError as error:
            print(f"not torch's walk: {error}")
            agrees = False
        assert agrees == (label == "constant" or not inside)
noisy = {
    label: [float(loss(theta)) for theta in scheduled(START, rates, noise, False)]
    for label, rates in (("constant", constant), ("cosine", falling_rates))
}
with figure("Noisy gradients: the loss with a constant and with a falling rate", steps=True,
            xlabel="step", ylabel="L", yscale="log") as axes:  # fmt: skip
    for label, losses in noisy.items():
        axes.plot(losses, label=label)
last = {label: float(np.mean(losses[-10:])) for label, losses in noisy.items()}
table({"rate": list(last), "mean loss of the last 10 steps": list(last.values())})
assert last["cosine"] < last["constant"]

# %% [markdown]
# ## What changed in the code
#
# From SGD to momentum, one line and one number to remember. From Adam to AdamW, the decay moves out
# of the gradient.

# %%
code_diff(sgd, momentum, names=("SGD", "momentum"))
code_diff(adam, adamw, names=("Adam", "AdamW"))

# %% [markdown]
# ## What torch now does for you
#
# `backward()` finds the gradient of the valley, through the nodes below. `optimizer.step()` does
# the rest, and none of it is recorded: a step is no part of the function whose slope is asked for.
# Its memory is `optimizer.state`, our dictionary `s`.

# %%
theta = torch.tensor(START, requires_grad=True)
t_loss = 0.5 * (torch.tensor(STEEPNESS) * theta.square()).sum()
grad_fn_table(
    t_loss,
    [loss, gradient],
    [
        ("Mul", "(the ½, which cancels the 2 of the square)"),
        ("Sum", "(each term adds to L: one each)"),
        ("Mul", "STEEPNESS * theta"),
        ("Pow", "return STEEPNESS * theta"),
        ("AccumulateGrad", "return STEEPNESS * theta"),
    ],
    {"θ": theta},
)
t_loss.backward()
optimizer = torch.optim.Adam([theta], lr=0.3)
optimizer.step()
assert theta.is_leaf
assert theta.grad_fn is None


def one_step(start):
    state = {}
    moved = adam(start, gradient(start), state, 0.3)
    return {"θ": moved, "m": state["m"], "v": state["v"], "g": gradient(start)}


memory = optimizer.state[theta]
same_all(one_step(START), {"θ": theta, "m": memory["exp_avg"], "v": memory["exp_avg_sq"],
                           "g": theta.grad}, gauged(one_step, START))  # fmt: skip

# %% [markdown]
# ## Your turn
#
# **An exercise.** A step is a graph, too.
#
# ```sh
# handgrad exercise start adam
# handgrad exercise grade adam.py
# ```
#
# **On paper.** Adam's first step with $\beta_1 = 0.9$, $\beta_2 = 0.999$ and any $g \ne 0$ (leave
# out $\varepsilon$): how long is it?
#
# <details><summary>Answer</summary>
#
# $\hat m = g$ and $\hat v = g^2$, so it is $\eta\, g / |g|$: $\eta$, however large $g$ is.
#
# </details>
#
# **Find the mistake.** Somebody's `adam` has this piece of code. After many steps it is nearly
# right. Why?
#
# ```python
# dm = -dout * RATE / u
# ```
#
# <details><summary>Answer</summary>
#
# The bias correction $1 - \beta_1^t$ is missing, and that goes to 1.
#
# </details>
