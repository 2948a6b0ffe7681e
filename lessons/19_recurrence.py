# %% [markdown]
# # 19 · Recurrence: the same layer, step after step
#
# A sentence, a melody, a measurement over time: the data come one after the other, and what came
# before matters. A recurrent layer has a state, and the same weights at each step. Backward, the
# gradient runs back through time; each weight collects a share at each step.

# %% tags=["hide-input"]
import numpy as np
import torch

import manual
from teach.kit import code_diff, figure, gauged, grad_fn_table, network, same_all, table

# %% [markdown]
# ## A state that remembers
#
# At each step $t$ the new state mixes the input with the old state, and is squashed:
#
# $$z_t = W x_t + U h_{t-1} + b, \qquad h_t = \tanh z_t$$
#
# With one number for each, $W = 1$, $U = 0.5$, $b = 0$, $h_0 = 0$, and the inputs $1, 0, 0$: what
# is left of the 1 after three steps?


# %%
def forward(x, h0, W, U, b):
    h = [h0]
    for t in range(len(x)):
        h.append(np.tanh(W @ x[t] + U @ h[t] + b))
    return h


one = np.array([[1.0], [0.0], [0.0]]), np.zeros(1), np.eye(1), 0.5 * np.eye(1), np.zeros(1)
states = [float(h[0]) for h in forward(*one)]
print("states:", [round(h, 3) for h in states])
assert states[1] == np.tanh(1.0)
assert states[3] == np.tanh(0.5 * np.tanh(0.5 * np.tanh(1.0)))

# %% [markdown]
# ## Unrolled, it is a deep network
#
# Three steps are three layers, with one difference: all three have the *same* weights.

# %% tags=["hide-input"]
cell = manual.RNNCell(2, 3)
unrolled = manual.Graph(
    [("step1", cell, ("x1", "h0")), ("step2", cell, ("x2", "step1")),
     ("step3", cell, ("x3", "step2")), ("loss", manual.MSELoss(), ("step3", "target"))],
    inputs=("x1", "x2", "x3", "h0", "target"),
)  # fmt: skip
network(unrolled, "A recurrent network, unrolled over three steps")

# %% [markdown]
# ## Backward through time
#
# Let $L$ depend on all states, and let $g_t$ be what reaches $h_t$ directly from the loss. *What
# does $h_t$ change?* The loss, and the next state. So two gradients come back to it, and add:
#
# $$\frac{\partial L}{\partial h_{t,j}} = g_{t,j} + \sum_k \delta_{t+1,k}\, U_{kj}, \qquad
# \delta_{t,k} = \frac{\partial L}{\partial z_{t,k}}
# = \frac{\partial L}{\partial h_{t,k}} \left(1 - h_{t,k}^2\right)$$
#
# *What does $U_{kj}$ change?* $z_{t,k}$ at **every** step. So its gradient is a sum over time, and
# so are those of $W$ and $b$:
#
# $$\frac{\partial L}{\partial U_{kj}} = \sum_t \delta_{t,k}\, h_{t-1,j}, \qquad
# \frac{\partial L}{\partial W_{ki}} = \sum_t \delta_{t,k}\, x_{t,i}, \qquad
# \frac{\partial L}{\partial b_k} = \sum_t \delta_{t,k}$$
#
# In matrices, $\nabla_{h_t} = g_t + U^\top \delta_{t+1}$ and
# $\nabla_U = \sum_t \delta_t h_{t-1}^\top$, and so on.


# %%
def backward(x, h0, W, U, b, g):
    h = forward(x, h0, W, U, b)
    dh, dW, dU, db = 0.0 * h0, 0.0 * W, 0.0 * U, 0.0 * b
    for t in range(len(x), 0, -1):
        dh = g[t - 1] + dh  # from the loss, and from the next step
        dz = dh * (1 - h[t] ** 2)
        dW = dW + dz[:, None] * x[t - 1][None, :]
        dU = dU + dz[:, None] * h[t - 1][None, :]
        db = db + dz
        dh = U.T @ dz
    return {"h0": dh, "W": dW, "U": dU, "b": db}


rng = np.random.default_rng(19)
T, inputs, size = 6, 2, 3
x, h0, g = rng.normal(size=(T, inputs)), rng.normal(size=size), rng.normal(size=(T, size))
W, U, b = rng.normal(size=(size, inputs)), rng.normal(size=(size, size)), rng.normal(size=size)
given = x, h0, W, U, b, g
ours, rounding = backward(*given), gauged(backward, *given)


def by_layer(x, h0, W, U, b, g):
    """The same by `manual.RNN`; like torch's it has two biases, and we leave one at zero."""
    own = {"weight_ih_l0": W, "weight_hh_l0": U, "bias_ih_l0": b, "bias_hh_l0": 0.0 * b}
    layer = manual.RNN(W.shape[1], W.shape[0]).with_params(own)
    _, cache = layer.forward(x[:, None], h0[None, None])
    (_, dh0, *_), grads = layer.backward((g[:, None], 0.0 * h0[None, None]), cache)
    return {"h0": dh0[0, 0], "W": grads["weight_ih_l0"], "U": grads["weight_hh_l0"],
            "b": grads["bias_ih_l0"]}  # fmt: skip


same_all(by_layer(*given), ours, rounding, name="manual.RNN")
rnn = torch.nn.RNN(inputs, size).double()
rnn.load_state_dict({n: torch.tensor(p) for n, p in (("weight_ih_l0", W), ("weight_hh_l0", U),
                     ("bias_ih_l0", b), ("bias_hh_l0", np.zeros(size)))})  # fmt: skip
t_h0 = torch.tensor(h0[None], requires_grad=True)
rnn(torch.tensor(x), t_h0)[0].backward(torch.tensor(g))
same_all(ours, {"h0": t_h0.grad[0], "W": rnn.weight_ih_l0.grad, "U": rnn.weight_hh_l0.grad,
                "b": rnn.bias_ih_l0.grad}, rounding, name="torch.nn.RNN")  # fmt: skip

# %% [markdown]
# ## The LSTM: a state that is kept, not squashed
#
# On its way back each step multiplies by $U^\top$ and by $1 - h^2 \le 1$. Lesson 15 has shown what
# becomes of such products. The **LSTM** has a second state $c$, which is not multiplied by a matrix
# at all. New contents $n$, between −1 and 1, may be written into it. Gates between 0 and 1 decide
# how much is kept of the old ($f$, for forget), written of the new ($i$, input) and shown ($o$,
# output):
#
# $$\begin{aligned}
# (i, f, n, o) &= (\sigma, \sigma, \tanh, \sigma)(W x_t + U h_{t-1} + b) \\
# c_t &= f \odot c_{t-1} + i \odot n, \qquad h_t = o \odot \tanh c_t
# \end{aligned}$$
#
# Backward, element by element. $c_t$ is read by $h_t$ and by the next step, so two gradients add:
#
# $$\begin{aligned}
# dc_t &\leftarrow dc_t + dh_t\, o\, (1 - \tanh^2 c_t) \\
# do &= dh_t \tanh c_t, \quad di = dc_t\, n, \quad dn = dc_t\, i, \quad df = dc_t\, c_{t-1}, \quad
# dc_{t-1} = dc_t\, f
# \end{aligned}$$
#
# Then each one's own slope, $\sigma'$ or $\tanh'$, and the rest as before.


# %%
def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def lstm(x, h0, c0, W, U, b, g):
    H, h, c, kept = len(h0), [h0], [c0], []
    for t in range(len(x)):
        z = W @ x[t] + U @ h[t] + b
        i, f, n, o = (
            sigmoid(z[:H]),
            sigmoid(z[H : 2 * H]),
            np.tanh(z[2 * H : 3 * H]),
            sigmoid(z[3 * H :]),
        )
        c.append(f * c[t] + i * n)
        h.append(o * np.tanh(c[-1]))
        kept.append((i, f, n, o))
    dh, dc, dW, dU, db = 0.0 * h0, 0.0 * c0, 0.0 * W, 0.0 * U, 0.0 * b
    for t in range(len(x), 0, -1):
        i, f, n, o = kept[t - 1]
        dh = g[t - 1] + dh
        dc = dc + dh * o * (1 - np.tanh(c[t]) ** 2)
        do, di, dn, df = dh * np.tanh(c[t]), dc * n, dc * i, dc * c[t - 1]
        dz = np.concatenate(
            [di * i * (1 - i), df * f * (1 - f), dn * (1 - n * n), do * o * (1 - o)]
        )
        dW, dU, db = dW + dz[:, None] * x[t - 1], dU + dz[:, None] * h[t - 1], db + dz
        dh, dc = U.T @ dz, dc * f
    return {"h0": dh, "c0": dc, "W": dW, "U": dU, "b": db}


c0 = rng.normal(size=size)
big = {"W": rng.normal(size=(4 * size, inputs)), "U": rng.normal(size=(4 * size, size)),
       "b": rng.normal(size=4 * size)}  # fmt: skip
given = x, h0, c0, *big.values(), g
ours, rounding = lstm(*given), gauged(lstm, *given)
layer = manual.LSTM(inputs, size).with_params(
    {"weight_ih_l0": big["W"], "weight_hh_l0": big["U"], "bias_ih_l0": big["b"],
     "bias_hh_l0": np.zeros(4 * size)}
)  # fmt: skip
_, cache = layer.forward(x[:, None], h0[None, None], c0[None, None])
end = np.zeros((1, 1, size))
(_, dh0, dc0, *_), own = layer.backward((g[:, None], end, end), cache)
same_all({"h0": dh0[0, 0], "c0": dc0[0, 0], "W": own["weight_ih_l0"], "U": own["weight_hh_l0"],
          "b": own["bias_ih_l0"]}, ours, rounding, name="manual.LSTM")  # fmt: skip
t_lstm = torch.nn.LSTM(inputs, size).double()
t_lstm.load_state_dict({n: torch.tensor(p) for n, p in layer.params.items()})
starts = tuple(torch.tensor(s[None], requires_grad=True) for s in (h0, c0))
t_lstm(torch.tensor(x), starts)[0].backward(torch.tensor(g))
same_all(ours, {"h0": starts[0].grad[0], "c0": starts[1].grad[0], "W": t_lstm.weight_ih_l0.grad,
                "U": t_lstm.weight_hh_l0.grad, "b": t_lstm.bias_ih_l0.grad}, rounding)  # fmt: skip

# %% [markdown]
# ## How far back does a gradient reach?
#
# Give both networks 60 steps, let the loss look at the last state alone, and measure what arrives
# at each step before. The LSTM's forget gates get a bias of 3 at first, $f \approx 0.95$: as a
# rule, keep.

# %%
steps, hidden = 60, 16
long = rng.normal(size=(steps, 4))
last = np.zeros((steps, hidden))
last[-1] = rng.normal(size=hidden)
W_r, U_r = rng.normal(0, 0.5, (hidden, 4)), rng.normal(0, 0.2, (hidden, hidden))
W_l, U_l = rng.normal(0, 0.2, (4 * hidden, 4)), rng.normal(0, 0.1, (4 * hidden, hidden))
keep = np.repeat([0.0, 3.0, 0.0, 0.0], hidden)


def reach(back):
    """What arrives 1, 7, 13, … steps back: the gradient of the state that a part starts from."""
    found = [float(np.linalg.norm(back(first))) for first in range(steps - 1, -1, -6)]
    return [length / found[0] for length in found]


h_r = forward(long, np.zeros(hidden), W_r, U_r, np.zeros(hidden))
rnn_reach = reach(lambda t: backward(long[t:], h_r[t], W_r, U_r, np.zeros(hidden), last[t:])["h0"])


def lstm_states(t):
    h = c = np.zeros(hidden)
    for row in long[:t]:
        i, f, n, o = np.split(W_l @ row + U_l @ h + keep, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(n)
        h = sigmoid(o) * np.tanh(c)
    return h, c


lstm_reach = reach(lambda t: lstm(long[t:], *lstm_states(t), W_l, U_l, keep, last[t:])["c0"])
back_by = list(range(1, steps + 1, 6))
with figure("What is left of the error, going back in time", steps=True, xlabel="steps back",
            ylabel="‖dL/dh‖, ‖dL/dc‖", yscale="log") as axes:  # fmt: skip
    axes.plot(back_by, rnn_reach, "o-", label="simple, h")
    axes.plot(back_by, lstm_reach, "o-", label="LSTM, c")
table({"steps back": back_by[::3], "simple": rnn_reach[::3], "LSTM": lstm_reach[::3]})
assert rnn_reach[-1] < 1e-6 < 1e-3 < lstm_reach[-1]

# %% [markdown]
# The simple network has forgotten; the LSTM still hears of step 1. See both learn, or not, to add
# two numbers far apart: `handgrad run adding-rnn` and `handgrad run adding-lstm`.
#
# ## What changed in the code
#
# Through layers, or through time: the loop runs over steps, the weights are the same in each, so
# their gradients are added up, and each state gets a second gradient from the loss.


# %%
def through_layers(x, Ws, bs, g):
    h = [x]
    for W, b in zip(Ws, bs, strict=True):
        h.append(np.tanh(W @ h[-1] + b))
    dh, grads = g, {}
    for t in range(len(Ws), 0, -1):
        dz = dh * (1 - h[t] ** 2)
        grads[f"W{t}"] = dz[:, None] * h[t - 1][None, :]
        grads[f"b{t}"] = dz
        dh = Ws[t - 1].T @ dz
    return grads


code_diff(through_layers, backward, names=("layers", "time"))

# %% [markdown]
# ## What torch now does for you
#
# `torch.nn.RNN` is one call. Written as a loop, autograd records each step; there is **one**
# `AccumulateGrad` for $U$, which waits for the shares of both steps.

# %%
leaves = {n: torch.tensor(p, requires_grad=True) for n, p in (("U", U), ("h0", h0))}
t_h = leaves["h0"]
for t in range(2):
    t_h = torch.tanh(torch.tensor(W @ x[t] + b) + leaves["U"] @ t_h)
step = [
    ("Tanh", "dz = dh * (1 - h[t] ** 2)"),
    ("Add", "(the input's part is data)"),
    ("Mv", "dU = dU + dz[:, None] * h[t - 1][None, :]", "dh = U.T @ dz"),
]
grad_fn_table(
    t_h,
    backward,
    [*step, *step, ("AccumulateGrad", '"U": dU'), ("AccumulateGrad", '"h0": dh')],
    leaves,
)
t_h.backward(torch.tensor(g[1]))
two = x[:2], h0, W, U, b, g[:2] * np.array([[0.0], [1.0]])
found, rounding = backward(*two), gauged(backward, *two)
same_all({n: found[n] for n in leaves}, {n: leaf.grad for n, leaf in leaves.items()}, rounding)

# %% [markdown]
# ## Your turn
#
# **An exercise.** Two gradients meet in the state. (Before it: `rnn_step`. Our $n$ is
# called $g$ there.)
#
# ```sh
# handgrad exercise start lstm_cell
# handgrad exercise grade lstm_cell.py
# ```
#
# **On paper.** $f = 0.9$ at every step, and nothing else. What is left of a gradient in $c$ after
# 20 steps?
#
# <details><summary>Answer</summary>
#
# $0.9^{20} \approx 0.12$. Of one through a sigmoid at each step, at most $0.25^{20} \approx
# 10^{-12}$.
#
# </details>
#
# **Find the mistake.** Somebody's `lstm_cell` has this piece of code. For the last step of a
# sequence it is right. And before?
#
# ```python
# dc = dh * o * (1 - t * t)
# ```
#
# <details><summary>Answer</summary>
#
# What comes back from the next step through $c'$ is thrown away, so the network forgets to learn
# what is long ago.
#
# </details>
