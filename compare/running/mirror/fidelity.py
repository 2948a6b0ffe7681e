"""Is what was captured what the model does? Nothing is claimed before that is shown.

Runs of copies, with the same random draws: the model plainly (twice), under the capture, and the
captured calls one after another. All must give the same loss and the same gradients.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from compare.errors import UserError
from compare.running.mirror.model import Model, refused
from torch_ref.captured import CapturedCall, Ref, Region, paired, tensors_of
from torch_ref.captured_side import CapturedSide, put_in
from torch_ref.leaves import go_back
from torch_ref.operations import OneDtype

__all__ = ["prove"]

CLOSE = 1e-9  # of the largest element: gradients may be added in another order
LOOSE = {torch.float64: 1e-9, torch.float32: 1e-5}  # where the last bits of two runs differ
NUDGE = {torch.float64: (1e-6, 1e-10), torch.float32: (1e-3, 1e-5)}  # inputs, and what is same
WHAT, RUNS = "watching", 4
WHY = (
    "Does it compute outside of torch (numpy, .data) with numbers that a gradient should flow "
    "through, change gradients by hooks, or differentiate inside (torch.autograd.grad, "
    "torch.func)? Mirror the module without that part, or write it as ordinary calls of torch."
)
Progress = Callable[[str, int, int], None]
Told = dict[str, Tensor | None]  # the loss, and the gradients of parameters and inputs


def prove(model: Model, side: CapturedSide, progress: Progress = lambda *_: None) -> None:
    """Run a copy of the model; leave what was captured with the side, for its names.

    Raises:
        UserError: the model cannot be run, is not deterministic, or was not captured faithfully.
    """
    name = type(model.module).__name__
    plain = _first(model, side.seed)
    model.refuse_empty(found for name, found in plain.items() if name != "loss")
    progress(WHAT, 1, RUNS)
    again, loose = _plainly(model.fresh(), side.seed), LOOSE[model.dtype]
    if part := _different(plain, again, loose):
        raise UserError(
            f"{name} is not deterministic: run twice with the same weights, inputs and "
            f"torch.manual_seed it gave another {part}. What draws otherwise than torch (random, "
            "numpy.random) cannot be compared."
        )
    close = loose if _different(plain, again, 0.0) else CLOSE
    progress(WHAT, 2, RUNS)
    with _in_a_sentence(name):
        probe, watched = _watched(model, side)
    captured = _told(watched.loss, probe)
    if part := _different(plain, captured, close):
        raise UserError(
            f"{name} has another {part} while its calls are watched, so that it cannot be "
            "mirrored. Does it look at the stack, or at the types of functions?"
        )
    progress(WHAT, 3, RUNS)
    torch.manual_seed(side.seed)
    with _in_a_sentence(name):
        with OneDtype(side.dtype, {}):
            replayed = _Replay(watched).loss()
        if replayed.requires_grad:  # else what was captured has lost a way back
            go_back(replayed, side.dtype, probe.leaves())
    if part := _different(captured, _told(replayed, probe), close):
        raise UserError(
            f"{name} was not captured faithfully: what was captured gives another {part}. {WHY}"
        )
    progress(WHAT, RUNS, RUNS)
    side.network.take(watched.capture)
    side.loss = watched.loss


@contextmanager
def _in_a_sentence(name: str) -> Iterator[None]:
    """What ran plainly and does not run so is no mistake of the user's."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"{name} cannot be mirrored: it runs, and what was captured of it does not "
            f"({type(error).__name__}: {str(error).strip().partition(chr(10))[0]}). {WHY}"
        ) from error


def _watched(model: Model, side: CapturedSide) -> tuple[Model, CapturedSide]:
    """Run a copy under the capture; Functions that compute out of sight are left closed."""
    while True:
        probe = model.fresh()
        watched = CapturedSide(
            probe.module, probe.run, probe.inputs, None, side.dtype, side.derive, side.seed
        )
        watched.closed, state = side.closed, copy.deepcopy(probe.module.state_dict())
        watched.forward_backward()
        probe.module.load_state_dict(state)
        if not (laundering := _laundering(watched) - side.closed):
            return probe, watched
        side.closed |= laundering


def _first(model: Model, seed: int) -> Told:
    """Run a model; one that will not have inputs with gradients gets them without."""
    try:
        return _plainly(model.fresh(), seed)
    except UserError:
        if not model.inputs:
            raise
        _without_gradient(model)
        with suppress(UserError):
            return _plainly(model.fresh(), seed)
        raise


def _without_gradient(model: Model) -> None:
    for tensor in model.inputs.values():
        tensor.requires_grad_(False)
    model.others.update(model.inputs)
    model.inputs.clear()


def _plainly(model: Model, seed: int) -> Told:
    torch.manual_seed(seed)
    try:
        loss = model.run()
        go_back(loss, model.dtype, model.leaves())
    except UserError:
        raise
    except Exception as error:
        shapes = ", ".join(str(tuple(t.shape)) for t in tensors_of((model.args, model.kwargs)))
        raise UserError(
            f"{type(model.module).__name__} cannot be run on inputs of shape {shapes or 'none'}: "
            f"{refused(error)}"
        ) from error
    return _told(loss, model)


def _told(loss: Tensor, model: Model) -> Told:
    """Return what a backward pass left, and take it away."""
    found: Told = {"loss": loss.detach().clone()}
    leaves = {**dict(model.module.named_parameters()), **model.inputs}
    for name, tensor in leaves.items():
        grad = tensor.grad
        found[f"gradient of {name}"] = None if grad is None else grad.to_dense().clone()
        tensor.grad = None
    return found


def _different(a: Told, b: Told, close: float) -> str:
    """Return the first entry in which two runs differ, or nothing.

    Their last bits may: LAPACK rounds by where in memory a matrix lies (`torch.linalg.lstsq` with
    gelsy, from one call to the next).
    """
    for name in a:
        x, y = a[name], b[name]
        if x is None or y is None:
            if any(t is not None and t.any() for t in (x, y)):
                return name
            continue
        apart = (x - y).abs().nan_to_num(0.0)
        if not x.numel():
            continue
        if x.isfinite().ne(y.isfinite()).any() or (apart > close * x.abs().max()).any():
            return name
    return ""


def _laundering(side: CapturedSide) -> set[type]:
    """Return the custom Functions that compute where the capture does not see it.

    What `.item()`, NumPy or another kernel computes from an input would be a constant to the
    derivation, and a backward that forgets it would seem right. So a Function is called beside its
    captured calls on inputs that are a little off. So are those with a call that nobody derives.
    """
    if not side.capture.regions:
        return set()
    replay = _Replay(side)
    with OneDtype(side.dtype, {}):
        replay.loss()
        return {
            r.function
            for r in side.capture.regions
            if not (replay.derives(r) and replay.follows(r))
        }


def _nudged(tensor: Tensor, by: float) -> Tensor:
    """Return a tensor with elements a little off: zeros stay, and what was equal stays equal."""
    return tensor.requires_grad_() * (1 + by * torch.sin(1e3 * tensor.abs())).detach()


def _cloned(x: Any) -> Any:
    return x.clone() if isinstance(x, Tensor) else x


class _Replay:
    """The captured calls, called one after another by torch."""

    def __init__(self, side: CapturedSide) -> None:
        self.side, self.network, self.capture = side, side.network, side.capture
        self.parameters = dict(side.model.named_parameters())
        self.values: dict[str, Tensor] = dict(side.inputs)
        self.regions: set[int] = set()

    def loss(self) -> Tensor:
        for call in self.capture.calls:
            if call.region is None:
                self.called(call)
            elif id(call.region) not in self.regions:
                self._applied(call.region)
        return self.values[self.capture.name_of(self.side.loss)]

    def called(self, call: CapturedCall) -> None:
        """Call it on what was computed before."""
        args, kwargs = self._filled((call.args, call.kwargs))
        random = call.state is not None and (
            call.twin is None or not call.twin.layer.params or call.twin.stochastic
        )
        with self.network.same_draw(call.name) if random else nullcontext():
            found = self.network.module_of(call.name)(*args, **kwargs)
        self._take(call.outputs, tensors_of(found))

    def _applied(self, region: Region) -> None:
        self.regions.add(id(region))
        found = region.function.apply(*self._filled(region.args))  # type: ignore[attr-defined]
        outputs = [t for t in tensors_of(found) if t.requires_grad]
        self._take(region.outputs, outputs)

    def derives(self, region: Region) -> bool:
        """Return whether torch has a derivative of each call that is left to it."""
        if all(call.twin is not None for call in region.calls):
            return True
        own = copy.copy(self)
        own.values = dict(self.values)
        names = {r.name for r in tree_leaves(region.args) if isinstance(r, Ref)}
        given = {n: self._tensor(n).detach() for n in names - self.capture.data.keys()}
        leaves = [t.requires_grad_() for t in given.values() if t.is_floating_point()]
        own.values |= given
        with torch.enable_grad():
            for call in region.calls:
                own.called(call)
        ends = [own.values[name] for name in region.outputs]
        ends = [end for end in ends if end.requires_grad]
        try:
            torch.autograd.grad(ends, leaves, [torch.ones_like(e) for e in ends], allow_unused=True)
        except RuntimeError:
            return False
        return True

    def follows(self, region: Region) -> bool:
        """Return whether the captured calls of a Function give what it gives, also close by."""
        step, close = NUDGE[self.side.dtype]
        return any(self._follows(region, by, close) for by in (step, -step))

    def _follows(self, region: Region, by: float, close: float) -> bool:
        own = copy.copy(self)
        own.values = dict(self.values)
        for ref in tree_leaves(region.args):
            if isinstance(ref, Ref) and ref.name not in self.capture.data:
                own.values[ref.name] = _nudged(self._tensor(ref.name).detach(), by)
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(region.state)  # type: ignore[arg-type]
            args = tree_map(_cloned, own._filled(region.args))  # it may write into them
            found = region.function.apply(*args)  # type: ignore[attr-defined]
        theirs = [paired(t.detach()) for t in tensors_of(found) if t.requires_grad]
        with torch.no_grad():
            for call in region.calls:
                own.called(call)
        pairs = zip(region.outputs, theirs, strict=False)
        return not any(_different({n: own.values[n].detach()}, {n: t}, close) for n, t in pairs)

    def _take(self, names: Sequence[str], tensors: Sequence[Tensor]) -> None:
        self.values.update(zip(names, tensors, strict=False))

    def _filled(self, tree: Any) -> Any:
        return put_in(tree, lambda x: self._tensor(x.name) if isinstance(x, Ref) else x)

    def _tensor(self, name: str) -> Tensor:
        if name in self.values:
            found = self.values[name]
            return found if found.is_complex() else self.network.whole([name], [found])[0]
        return self.parameters[name] if name in self.parameters else self.capture.data[name]
