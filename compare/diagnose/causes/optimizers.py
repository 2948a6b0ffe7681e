"""What wrong update rules would have computed: torch's optimiser with something changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from compare.diagnose.causes.arguments import variants
from compare.diagnose.causes.cause import Alternative
from compare.diagnose.causes.settings import numbers
from compare.diagnose.causes.update_rules import wrong_rules
from compare.diagnose.causes.update_terms import decay_of

NEVER = 10**9  # a step count at which every 1 − β^t is 1
RULE = "Compare the update rule with torch's line by line: the docstring of `update` derives it."
COUNT = "Count the steps from 1, and use the count where the formula says t or t − 1."
BIAS = "Adam divides its averages by 1 − β^t, with t counted from 1, because they start at 0."


@dataclass(frozen=True)
class Update:
    """One parameter's update on torch's side: from where, by what, and what is looked at.

    Attributes:
        type, args: torch.optim's name and arguments.
        param, grad, state: before the step; the state is {} before the first.
        lr: this step's learning rate.
        quantity: `param`, or the state's name.
        unclipped: the gradient before it was clipped, if it was.
    """

    type: str
    args: Mapping[str, Any]
    param: np.ndarray
    grad: np.ndarray
    state: Mapping[str, Any]
    lr: float
    quantity: str
    unclipped: np.ndarray | None = None

    def states(self) -> list[str]:
        """Return the names of the state after torch's step, those that others are made of first."""
        import torch

        from torch_ref.optimizers import build, state_of

        p = torch.nn.Parameter(torch.tensor(self.param))
        p.grad = torch.tensor(self.grad)
        optimizer = build(self.type, {"p": p}, {**self.args, "lr": self.lr})
        optimizer.step()
        return sorted(state_of(optimizer, {"p": p})["p"], key=lambda n: ("m" in n[:1], n))

    def run(self, **changed: Any) -> np.ndarray | None:
        """Return the quantity after torch's step in float64, with some fields changed."""
        import torch

        from torch_ref.optimizers import build, load_state, state_of

        fields = {k: changed.get(k, getattr(self, k)) for k in ("type", "args", "state")}
        quantity = changed.get("quantity", self.quantity)
        p = torch.nn.Parameter(torch.tensor(changed.get("param", self.param), dtype=torch.float64))
        p.grad = torch.tensor(changed.get("grad", self.grad), dtype=torch.float64)
        arguments = {**fields["args"], "lr": changed.get("lr", self.lr)}
        try:
            optimizer = build(fields["type"], {"p": p}, arguments)
            if fields["state"]:
                load_state(optimizer, {"p": p}, {"p": fields["state"]})
            optimizer.step()
        except (ValueError, TypeError, KeyError, RuntimeError):
            return None  # torch refuses this combination
        if quantity == "param":
            return p.detach().numpy()
        found = state_of(optimizer, {"p": p})["p"].get(quantity)
        return None if found is None else found.numpy()


def alternatives(update: Update) -> Iterator[Alternative]:
    """Yield what known mistakes give for this parameter or state."""
    for kind, what, advice, value in _mistakes(update):
        if value is not None:
            yield Alternative(kind, what, advice, value)
    for kind, what, value in wrong_rules(update):
        yield Alternative(kind, what, RULE, value)


def _mistakes(u: Update) -> Iterator[tuple[str, str, str, Any]]:
    decay = decay_of(u)
    if decay:
        without = {**u.args, "weight_decay": 0.0}
        text = "torch's step without weight decay"
        yield "decay", text, RULE, u.run(args=without)
        yield from _other_decay(u, without, decay)
    if "step" in u.state or u.type.startswith("Adam"):
        yield from _bias(u)
    text = "torch's step on the gradient with its sign flipped"
    yield "sign", text, "A step descends: parameter − lr × direction.", u.run(grad=-u.grad)
    text = "torch's step with no memory of earlier gradients"
    yield "state forgotten", text, "Pass the new state on to the next step.", u.run(state={})
    if u.unclipped is not None:
        text = "torch's step on the gradient before clipping"
        yield "clipping", text, "Clip the gradients first, then step.", u.run(grad=u.unclipped)
    import torch

    for what, args in variants(getattr(torch.optim, u.type), u.args):
        if args.get("alpha") == 1:
            continue  # nothing is gathered: a root of 0 has many other reasons
        yield "argument", f"torch's step with {what}", RULE, u.run(args=args)


def _other_decay(u: Update, without: dict, decay: float) -> Iterator[tuple[str, str, str, Any]]:
    advice = (
        "Adam's weight decay goes into the gradient and through both averages; AdamW's shrinks the "
        "parameter by lr × weight_decay × parameter, outside them."
    )
    coupled = u.run(args=without, grad=u.grad + decay * u.param)
    yield "coupled decay", "torch's step with the decay added to the gradient", advice, coupled
    for rate, text in ((u.lr * decay, "lr × decay × parameter"), (decay, "decay × parameter")):
        moved = u.run(args=without)
        if moved is not None and u.quantity == "param":
            text = f"torch's step less {text}, outside the averages"
            yield "decoupled decay", text, advice, moved - rate * u.param


def _bias(u: Update) -> Iterator[tuple[str, str, str, Any]]:
    """Yield steps with other step counts, which only the bias correction looks at."""
    state = dict(u.state) or {"exp_avg": 0 * u.param, "exp_avg_sq": 0 * u.param, "step": 0}
    if u.args.get("amsgrad"):
        state.setdefault("max_exp_avg_sq", 0 * u.param)
    if u.quantity != "step":
        if u.type.startswith("Adam"):
            text = "torch's step without bias correction"
            yield "bias correction", text, BIAS, u.run(state={**state, "step": NEVER})
        now = float(np.asarray(state["step"]))
        for count, what in ((now + 1, "too late"), (now - 1, "too early")):
            if count >= 0:
                text = f"torch's step with the step count one {what}"
                advice = BIAS if u.type.startswith("Adam") else COUNT
                yield "step count", text, advice, u.run(state={**state, "step": count})


def settings(u: Update) -> Iterator[tuple[str, float, Callable]]:
    """Yield the numbers among torch's arguments, with its step for other values."""
    import torch

    for name, now, arguments in numbers(getattr(torch.optim, u.type), u.args):
        yield name, now, lambda v, a=arguments: u.run(args=a(v))


def clipped(grads: Mapping[str, np.ndarray], clip: tuple[Any, Any]) -> dict[str, np.ndarray]:
    """Return the gradients as torch's clipping (by norm, then by value) leaves them."""
    import torch

    from torch_ref.optimizers import clip_grad_norm, clip_grad_value

    params = {name: torch.nn.Parameter(torch.tensor(g)) for name, g in grads.items()}
    for name, p in params.items():
        p.grad = torch.tensor(grads[name])
    if clip[0] is not None:
        clip_grad_norm(params.values(), clip[0])
    if clip[1] is not None:
        clip_grad_value(params.values(), clip[1])
    return {name: np.asarray(p.grad) for name, p in params.items()}
