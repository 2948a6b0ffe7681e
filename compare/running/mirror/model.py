"""What is mirrored: a copy of the user's model with its inputs, loss and optimiser."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields, is_dataclass
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from compare.errors import UserError
from torch_ref.capture import Capture
from torch_ref.captured import tensors_of
from torch_ref.operations import OneDtype
from torch_ref.side import DTYPES

__all__ = ["Model", "refused"]

UPSTREAM = 20260  # seeds the random upstream gradient
WHOLE = re.compile(r"Long|\blong\b|int64")  # what torch says where it wants whole numbers


@dataclass
class Model:
    """A copy of a model that can be run and trained without the user's being touched.

    `inputs` are the real tensors among its arguments, by name: leaves that get a gradient; `others`
    those that have none. Where some of the user's require a gradient, the rest has none.
    """

    module: nn.Module
    args: tuple
    kwargs: dict[str, Any]
    inputs: dict[str, Tensor]
    others: dict[str, Tensor]
    loss: Callable[..., Tensor] | None
    optimizer: torch.optim.Optimizer | None
    dtype: torch.dtype
    users: nn.Module  # which the module is a copy of

    @classmethod
    def copied(
        cls, module: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any],
        loss: Callable | None, optimizer: Any, dtype: str,
    ) -> Model:  # fmt: skip
        """Copy all of it in one dtype.

        Raises:
            UserError: it cannot be copied, or is not what can be mirrored.
        """
        _check(module)
        try:
            own, own_loss, own_optimizer = copy.deepcopy((module, loss, optimizer), _made(module))
        except Exception as error:
            raise UserError(
                f"{type(module).__name__} cannot be copied ({type(error).__name__}: {error}), and "
                "a mirror works on a copy. Does it keep a tensor that has a gradient as an "
                "attribute, or an open file? Make that a parameter, a buffer, or leave it out."
            ) from None
        wanted = DTYPES[dtype]
        _check_loss(own_loss, own)
        own = own._apply(lambda t: _in(t, wanted))
        if isinstance(own_loss, nn.Module):
            own_loss = own_loss._apply(lambda t: _in(t, wanted))
        whole = (tuple(args), dict(kwargs))
        asked = any(t.requires_grad for t in tensors_of(whole) if t.is_floating_point())
        arguments, named = tree_map(lambda x: _taken(x, wanted, asked=asked), whole)
        inputs = _named(own, arguments, named)
        real = {name: t for name, t in inputs.items() if t.requires_grad}
        others = {name: t for name, t in inputs.items() if not t.requires_grad}
        found = cls(own, arguments, named, real, others, own_loss, own_optimizer, wanted, module)
        found._check_optimizer()
        return found

    def run(self, capture: Capture | None = None) -> Tensor:
        """Compute the loss of one step, under a capture or plainly."""
        if capture is None:
            with OneDtype(self.dtype, self._stand_ins()):
                return self._total(self.module(*self.args, **self.kwargs), None)
        capture.stand_ins.known = self._stand_ins()
        if isinstance(self.loss, nn.Module):
            capture.name(self.loss, "criterion")
        return capture.run(
            lambda: self._total(self.module(*self.args, **self.kwargs), capture),
            self.inputs, self.others,
        )  # fmt: skip

    def fresh(self) -> Model:
        """Return a copy that has not been run, without the optimiser."""
        whole = (self.module, self.args, self.kwargs, self.inputs, self.others, self.loss)
        module, args, kwargs, inputs, others, loss = copy.deepcopy(whole, _made(self.module))
        return Model(module, args, kwargs, inputs, others, loss, None, self.dtype, self.users)

    def leaves(self) -> tuple[Tensor, ...]:
        """Return what a gradient is wanted of."""
        return (*self.module.parameters(), *self.inputs.values())

    def hooked(self) -> list[str]:
        """Return the names of the user's parameters that bear hooks: copies lose them."""
        hooks = ("_backward_hooks", "_post_accumulate_grad_hooks")
        named = self.users.named_parameters()
        return [name for name, p in named if any(getattr(p, hook, None) for hook in hooks)]

    def _stand_ins(self) -> dict[int, Tensor]:
        """Return the copy's parameters and buffers by the ids of the user's, for losses."""
        own, theirs = (
            {**dict(m.named_parameters()), **dict(m.named_buffers())}
            for m in (self.module, self.users)
        )
        return {id(theirs[name]): tensor for name, tensor in own.items() if name in theirs}

    def _total(self, output: Any, capture: Capture | None) -> Tensor:
        """Return what the gradients are of."""
        if self.loss is not None:
            with capture.at("loss") if capture else nullcontext():
                total = self._lost(output)
            if not isinstance(total, Tensor) or total.numel() != 1:
                raise UserError(
                    "loss: it must return one number as a tensor, received "
                    f"{_described(total)}. Reduce it by .mean() or .sum()."
                )
            return total.reshape(()) if total.ndim else total
        own = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
        if isinstance(own, Tensor) and own.numel() == 1 and _has_slope(own):
            return own
        if isinstance(output, Tensor) and output.ndim == 0 and _has_slope(output):
            return output
        return self._upstream(output, capture)

    def refuse_empty(self, gradients: Iterable[Tensor | None] = ()) -> None:
        """Refuse inputs of which none has an element, such as a batch of no rows.

        Of an empty past a model may well make something: then a gradient is there.
        """
        inputs = {**self.inputs, **self.others}
        if not inputs or any(t.numel() for t in inputs.values()):
            return
        if not any(g is not None and (g.isfinite() & (g != 0)).any() for g in gradients):
            told = ", ".join(f"{name} {tuple(t.shape)}" for name, t in inputs.items())
            raise UserError(
                f"The inputs of {type(self.module).__name__} have no elements ({told}): nothing "
                "could be compared. Give at least one row."
            )

    def _lost(self, output: Any) -> Any:
        """Return what the loss makes of an output; an exception in there is the loss's."""
        assert self.loss is not None
        try:
            return self.loss(output)
        except UserError:
            raise
        except Exception as error:
            target = getattr(self.loss, "target", None)  # the command line's
            other = "" if target is None else f", and the target, {_described(target)}"
            raise UserError(
                f"The loss cannot be computed of the output of {type(self.module).__name__}, "
                f"{_described(output)}{other}: {refused(error)}"
            ) from error

    def _upstream(self, output: Any, capture: Capture | None) -> Tensor:
        """Return the product of the outputs with random numbers, their upstream gradients."""
        found = [t for t in tensors_of(output) if t.requires_grad]
        if not found:
            raise UserError(
                f"No output of {type(self.module).__name__} has a gradient: it returned "
                f"{_described(output)}. Is it run under torch.no_grad, or are all its parameters "
                "frozen and its inputs integers?"
            )
        if not any(t.numel() for t in found):
            self.refuse_empty()
            raise UserError(
                f"What {type(self.module).__name__} returns has no elements, "
                f"{_described(found[0])}: nothing could be compared. Give it inputs of which "
                "something is left."
            )
        generator = torch.Generator().manual_seed(UPSTREAM)
        total: Any = 0
        with capture.at("upstream") if capture else nullcontext():
            for tensor in found:
                ups = torch.randn(tensor.shape, generator=generator, dtype=self.dtype)
                real = torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor
                ups = ups if real is tensor else ups[..., None]
                total = total + (real * ups).sum()
        return total

    def _check_optimizer(self) -> None:
        if self.optimizer is None:
            return
        if not isinstance(self.optimizer, torch.optim.Optimizer):
            raise UserError(
                "optimizer must be an optimiser of torch.optim on the model's parameters, such as "
                "torch.optim.SGD(model.parameters(), lr=0.1), received "
                f"{self.optimizer if callable(self.optimizer) else type(self.optimizer).__name__}."
            )
        for state in self.optimizer.state.values():  # some have one from the start
            state |= {
                k: t.to(self.dtype)
                for k, t in state.items()
                if isinstance(t, Tensor) and t.is_floating_point() and t.ndim
            }
        for group in self.optimizer.param_groups:
            group |= {
                k: v.to(self.dtype)
                for k, v in group.items()
                if isinstance(v, Tensor) and v.is_floating_point()
            }
        own = {id(p) for p in self.module.parameters()}
        held = [p for group in self.optimizer.param_groups for p in group["params"]]
        if not own.intersection(map(id, held)):
            raise UserError(
                "optimizer: it holds none of the model's parameters. Make it of the model that is "
                "mirrored: torch.optim.SGD(model.parameters(), lr=0.1)."
            )


def _has_slope(output: Tensor) -> bool:
    """Return whether something can be the loss: a real number that depends on what is learnt."""
    return output.requires_grad and output.is_floating_point()


def _made(module: nn.Module) -> dict[int, Any]:
    """Return copies of tensors that were computed and kept: weights that old hooks make anew."""
    kept = (t for m in module.modules() for t in vars(m).values() if isinstance(t, Tensor))
    return {id(t): t.detach().clone() for t in kept if not t.is_leaf}


def _check_loss(loss: Any, module: nn.Module) -> None:
    if not isinstance(loss, nn.Module):
        return
    known = {id(p) for p in module.parameters()}
    own = [k for k, p in loss.named_parameters() if p.requires_grad and id(p) not in known]
    if own:
        raise UserError(
            f"loss: {type(loss).__name__} has parameters of its own ({', '.join(own[:3])}), and a "
            "mirror compares those of the module. Mirror a module that holds both and returns the "
            "loss, or freeze them by loss.requires_grad_(False)."
        )


def _check(module: Any) -> None:
    if not isinstance(module, nn.Module):
        raise UserError(
            f"mirror takes a torch.nn.Module, received {_described(module)}. For a function with a "
            "hand-written backward use compare.check, for a configuration compare.run."
        )
    for path, inner in module.named_modules():
        if isinstance(inner, torch.jit.ScriptModule):
            raise UserError(
                f"{f'{type(module).__name__}.{path}' if path else 'the module'} is TorchScript: it "
                "runs outside of Python, where a mirror sees none of its operations. Mirror the "
                "nn.Module that it was made of."
            )
    tensors = (*module.parameters(), *module.buffers())
    if any(nn.parameter.is_lazy(t) for t in tensors):
        raise UserError(
            f"{type(module).__name__} has lazy parameters that have no shape yet. Run it once on "
            "its inputs before it is mirrored."
        )
    devices = {t.device.type for t in tensors} - {"cpu"}
    if devices:
        raise UserError(
            f"{type(module).__name__} is on {', '.join(sorted(devices))}; the hand-written side "
            "works on the CPU. Mirror module.cpu()."
        )
    complexes = [name for name, p in module.named_parameters() if p.is_complex()]
    if complexes:
        raise UserError(
            f"{type(module).__name__} has complex parameters ({', '.join(complexes[:3])}), and the "
            "hand-written side keeps real ones. Keep their pairs (torch.view_as_real) as the "
            "parameter, and use torch.view_as_complex of it."
        )
    halves = {str(t.dtype)[6:] for t in tensors if t.dtype in (torch.float16, torch.bfloat16)}
    if halves:
        raise UserError(
            f"{type(module).__name__} holds {', '.join(sorted(halves))}; mirror module.float(): "
            "the comparison is made in float64 or float32."
        )


def _taken(x: Any, dtype: torch.dtype, *, asked: bool) -> Any:
    """Return a tensor's own copy in the run's dtype; `asked`: it says if it has a gradient."""
    if is_dataclass(x) and not isinstance(x, type):
        own = copy.copy(x)
        for f in fields(x):
            taken = tree_map(lambda value: _taken(value, dtype, asked=asked), getattr(x, f.name))
            object.__setattr__(own, f.name, taken)  # a frozen one, too
        return own
    if not isinstance(x, Tensor):
        return x
    copied = _in(x.detach().clone().cpu(), dtype)
    learns = copied.is_floating_point() and (x.requires_grad or not asked)
    return copied.requires_grad_(learns)


def _in(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Return real numbers in a dtype, and complex ones in that of two such."""
    if tensor.is_complex():
        return tensor.to(dtype.to_complex())
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def _named(module: nn.Module, args: tuple, kwargs: dict) -> dict[str, Tensor]:
    """Return the tensors among the arguments, by the names of forward's parameters."""
    taken_by = signature(module.forward)
    try:
        bound = taken_by.bind(*args, **kwargs)
    except TypeError as error:
        by_name = f" (by name: {', '.join(kwargs)})" if kwargs else ""
        raise UserError(
            f"{type(module).__name__} cannot be called with these inputs{by_name}: {error}. It "
            f"takes ({', '.join(taken_by.parameters)}). Give its arguments as args=(…) and "
            "kwargs={…}, on the command line as --input SHAPE."
        ) from None
    named: dict[str, Tensor] = {}
    held = (*module.named_children(), *module.named_parameters(), *module.named_buffers())
    taken = {name.partition(".")[0] for name, _ in held}
    for name, value in bound.arguments.items():
        found = tensors_of(value)
        own = f"{name}_" if name in taken else name
        for place, tensor in enumerate(found):
            named[own if len(found) == 1 else f"{own}_{place}"] = tensor
    return named


def refused(error: Exception) -> str:
    """Return what torch refused and why, and what to do about it as far as its message tells."""
    told = f"{type(error).__name__}: {str(error).rstrip('.')}"
    if WHOLE.search(str(error).split(" but ")[0]):
        return (
            f"{told}. Whole numbers are wanted there: give a tensor of them (torch.randint(N, "
            "shape)), on the command line a shape with how many there are, such as 3,6:N."
        )
    lacking = "'Double'" in str(error) or "got Double" in str(error)
    return f'{told}. If torch has that in float32 alone, give dtype="float32".' if lacking else told


def _described(x: Any) -> str:
    if isinstance(x, Tensor):
        return f"a tensor of shape {tuple(x.shape)} in {str(x.dtype)[6:]}"
    return f"{type(x).__name__}"
