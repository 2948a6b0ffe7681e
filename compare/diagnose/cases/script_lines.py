"""The lines of a replay script: how each kind of candidate and of reference is called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from compare.diagnose.cases.bundle import Bundle, CannotBundleError
from compare.pair.candidates import ValueAndGradient
from compare.pair.inputs import is_float
from compare.pair.nests import attributes
from compare.pair.objects import LayerObject
from compare.pair.own_forward import OwnForward
from compare.pair.parameters import parameter
from compare.pair.signatures import listed
from compare.pair.torch_candidate import TorchCandidate
from compare.running.cases.outcome import Outcome

if TYPE_CHECKING:
    from compare.commands.check.session import Session


LAID_OUT = {
    "non-contiguous": "{v} = np.repeat({v}[..., ::-1], 2, axis=-1)[..., ::-2]  # not contiguous",
    "Fortran order": "{v} = np.asfortranarray({v})",
}


def input_lines(session: Session, smallest: Outcome, bundle: Bundle) -> str:
    """Assign the inputs and upstream gradients to their names."""
    lines = []
    for name, value in smallest.values.items():
        cast = _cast(session) if is_float(value) else ""
        v = bundle.variable(name)
        lines.append(
            f'{v} = saved["{v}"]{cast}  # {value.shape}'
            if isinstance(value, np.ndarray)
            else f"{v} = {value!r}"
        )
        if smallest.case.layout and is_float(value) and value.ndim:
            lines.append(LAID_OUT[smallest.case.layout].format(v=v))
    if session.candidate.takes_upstream:
        cast = _cast(session)
        lines += [f'dy{i} = saved["dy{i}"]{cast}' for i in range(len(smallest.upstreams))]
    return "\n".join(lines)


def dtype_of(session: Session) -> str:
    return "float64" if session.candidate.keeps_dtype else session.precision.name


def _cast(session: Session) -> str:
    """The file holds float64."""
    return "" if dtype_of(session) == "float64" else f".astype(np.{dtype_of(session)})"


def candidate_lines(session: Session, smallest: Outcome, quantity: str, bundle: Bundle) -> str:
    candidate = session.candidate
    if isinstance(candidate, TorchCandidate):
        return _torch_lines(session, smallest, quantity, bundle)
    arguments = ", ".join(map(bundle.variable, candidate.names))
    started = candidate.start(session.evaluator.run_values(smallest))
    if isinstance(candidate, ValueAndGradient):
        function = bundle.function(candidate.forward_code, "function")
        grads = "*grads" if len(started.state) > 1 else "grads"
        both = f"{grads}, y0" if candidate.loss_last else f"y0, {grads}"
        lines = [f"{both} = {function}({arguments})"]
    elif isinstance(candidate, LayerObject):
        lines = _object_lines(candidate, started.state.planned, bundle)
    else:
        planned = started.state[0]
        forward = bundle.function(candidate.forward_code, "forward")
        backward = bundle.function(candidate.backward_code, "backward")
        lines = [
            f"{planned.unpack} = {forward}({arguments})",
            f"grads = {'dy0 * ' * planned.elementwise}{backward}({planned.call})",
        ]
    if not smallest.crashed:  # else the last line raises
        lines.append(f"manual = np.asarray({_where(session, smallest, quantity, started)})")
    return "\n".join(lines)


def _where(session: Session, smallest: Outcome, quantity: str, started: Any) -> str:
    """Return where a quantity is found after the run."""
    if not quantity.startswith("grad:"):
        return f"y{quantity.partition(':')[2] or 0}"
    dys = session.evaluator.cast_upstreams(smallest, started.outputs)
    found = session.candidate.gradients(session.candidate.backward(dys, started), started)
    return found[quantity.removeprefix("grad:")].where


def _object_lines(candidate: LayerObject, planned: Any, bundle: Bundle) -> list[str]:
    """Make the object again from its attributes, and call it."""
    kind = bundle.class_(type(candidate.layer))
    held = bundle.expression("self", attributes(candidate.layer))
    lines = [
        f"layer = object.__new__({kind})",
        f"for name, value in {held}.items():",
        "    object.__setattr__(layer, name, value)",
    ]
    for name in candidate.parameters:
        if known := parameter(candidate.layer, name):
            lines += [f"{place.text} = {bundle.variable(name)}" for place in known.places]
    if candidate.updates:
        bundle.imports["import copy"] = None
        lines.append("before = copy.deepcopy(layer)")
    arguments = ", ".join(map(bundle.variable, candidate.arguments))
    unpack = f"{planned.unpack} = " if planned.unpack else ""
    forward, backward = candidate.methods
    if forward == backward:  # one method returns both
        return [*lines, f"{unpack}layer.{forward}({arguments})"]
    return [
        *lines,
        f"{unpack}layer.{forward}({arguments})",
        *(f"{place.text} = 2.0**40" for place in candidate.rates or ()),
        f"grads = layer.{backward}({planned.call})",
    ]


def _torch_lines(session: Session, smallest: Outcome, quantity: str, bundle: Bundle) -> str:
    candidate = session.candidate
    assert isinstance(candidate, TorchCandidate)
    if candidate.owner is not None:
        called = f"{bundle.class_(candidate.owner)}.apply"
    else:
        called = bundle.function(candidate.function, "candidate")
    dtype = str(candidate.dtype)
    return _autograd(session, smallest, quantity, called, bundle, dtype, "manual", candidate.device)


def reference_lines(session: Session, smallest: Outcome, quantity: str, bundle: Bundle) -> str:
    """Differentiate the reference by torch if it can be written down; else show what it gave."""
    reference = session.reference
    stored = 'expected = saved["expected"]'
    if quantity not in smallest.expected:
        return "expected = np.zeros(0)  # the two sides cannot be compared"
    if isinstance(reference, OwnForward):
        return f"{stored}  # the derivative of forward, by central differences"
    try:
        if reference.module is not None:
            raise CannotBundleError("it is a module")
        called = bundle.function(reference.function, "reference")
    except CannotBundleError as reason:
        return f"{stored}  # by torch; {reason}, which cannot be written down here"
    return _autograd(
        session, smallest, quantity, called, bundle, "torch.float64", "expected", "cpu",
        reference.arguments,
    )  # fmt: skip


def _autograd(
    session: Session,
    smallest: Outcome,
    quantity: str,
    called: str,
    bundle: Bundle,
    dtype: str,
    result: str,
    device: str,
    names: list[str] | None = None,
) -> str:
    """Write the lines that run a torch callable and take one of its gradients."""
    names = list(session.specification.names) if names is None else names
    floats = session.candidate.differentiable
    made = []
    for name in names:
        value, v = smallest.values[name], bundle.variable(name)
        if is_float(value):
            made.append(
                f'torch.tensor(saved["{v}"], dtype={dtype}, device={device!r}, '
                f"requires_grad={name in floats})"
            )
        else:
            made.append(f"torch.from_numpy({v})" if isinstance(value, np.ndarray) else v)
    lines = ["tensors = [", *(f"    {m}," for m in made), "]"]
    several = len(smallest.upstreams) > 1
    ys = listed("t", smallest.upstreams)
    lines.append(f"{ys} = {called}(*tensors)")
    if not quantity.startswith("grad:"):
        at = quantity.partition(":")[2] or 0
        return "\n".join([*lines, f"{result} = t{at}.detach().double().cpu().numpy()"])
    dys = ", ".join(
        f'torch.tensor(saved["dy{i}"]).to(t{i}).reshape(t{i}.shape)'
        for i in range(len(smallest.upstreams))
    )
    outputs, upstreams = (f"({ys})", f"({dys})") if several else (ys, dys)
    at = names.index(quantity.removeprefix("grad:"))
    lines += [
        f"torch.autograd.backward({outputs}, {upstreams})",
        f"{result} = tensors[{at}].grad.double().cpu().numpy()",
    ]
    return "\n".join(lines)
