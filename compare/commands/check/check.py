"""Bring your own gradient: `check` for hand-written NumPy code, `check_torch` for torch's."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from compare.errors import UserError, nearest, not_stopped
from compare.pair.budget import SECONDS, Budget

if TYPE_CHECKING:
    from compare.report.report import Report

Progress = Callable[[str, int, int], None]  # what, done, of how many
DTYPES = ("float64", "float32")
TORCH_DTYPES = ("float64", "float32", "float16", "bfloat16")


@not_stopped("The code under check")
def check(
    forward: Any,
    backward: Any = None,
    reference: Any = None,
    inputs: Mapping[str, Any] | None = None,
    *,
    dtype: str = "float64",
    seed: int = 0,
    no_grad: Collection[str] = (),
    structural_zeros: Collection[str] = (),
    cases: Collection[str] | None = None,
    shrink: bool = True,
    purity: str = "note",
    resize: bool | None = None,
    domain: Mapping[str, str] | None = None,
    upstream: Any = None,
    rtol: float | None = None,
    budget: float = SECONDS,
    progress: Progress | None = None,
) -> Report:
    """Check a hand-derived gradient, and say what is wrong with it.

    Args:
        forward: `out, cache = forward(*inputs)`; or an object with `forward` and `backward`; or a
            function that returns a loss and its gradients. Outputs may be a tuple.
        backward: `dx, dw, … = backward(dout, cache)`, in the order of the inputs.
        reference: a torch function or nn.Module (inputs named as its parameters become them).
            Without one, backward is checked against the derivative of forward itself.
        inputs: by name, in the order of the arguments: arrays, or shapes from which random normal
            ones are drawn (equal numbers are axes that belong together). Integers, strings, index
            arrays and the like pass through, and get no gradient.
        dtype: what the candidate runs in; derivations are judged in float64.
        seed: of inputs and upstream gradients.
        no_grad: float inputs that get no gradient (a mask, a target).
        structural_zeros: inputs whose gradient is zero by construction; of others that is no pass.
        cases: run only cases whose name begins with one of these; by default all.
        shrink: whether a failure is reduced to the smallest case that still fails.
        purity: what a cache that is written to, a backward that can be called once only, and
            gradients that are added to on an object are: `note`, or `fail`.
        resize: whether other sizes are tried; by default all but those that an object was made
            for (whole numbers and arrays among its attributes).
        domain: what drawn inputs must be: probability, positive, simplex or spd.
        upstream: the gradient of the output on your own inputs, a tuple for several outputs; the
            other cases draw theirs. By default all are random.
        rtol: how far an element may be off besides rounding, as a part of the reference's; above 0
            and below 1. The report says so first.
        budget: seconds of computing; beyond them large and slow inputs are judged along random
            directions and cases are left out, which a note says.
        progress: called as `progress("checking", done, total)` after each case.

    Returns:
        A `Report` whose mode is `check`; one step per case.

    Raises:
        UserError: the arguments fit no known form, or a forward pass fails on the given inputs. A
            backward pass that raises is a finding, and the verdict disagree.

    >>> import torch
    >>> def forward(x, w):
    ...     return x @ w, (x, w)
    >>> def backward(dout, cache):
    ...     x, w = cache
    ...     return dout @ w.T, x.T @ dout
    >>> check(forward, backward, torch.matmul, {"x": (4, 3), "w": (3, 5)}).verdict
    'agree'
    """
    from compare.commands.check.session import Session
    from compare.pair.adapt import adapt
    from compare.pair.inputs import specify
    from compare.pair.objects import LayerObject, is_layer, is_model, made
    from compare.pair.on_tensors import NOTE, on_tensors, static_pair
    from compare.pair.own_parameters import own_parameters, with_learned_floats
    from compare.pair.parameters import in_precision, parameter
    from compare.pair.scalars import with_scalars
    from compare.pair.tolerance import PRECISIONS, candidate_errors

    _known(dtype, DTYPES, "check_torch runs torch callables in the others")
    _refuse_torch(forward)
    pair = static_pair(forward) if backward is None else (forward, backward)
    function = None
    if pair:
        given = specify(inputs, no_grad).within(domain)
        function = on_tensors(pair[0], pair[1], given, seed)
    if function is not None:
        report = check_torch(
            function, reference, inputs, dtype=dtype, seed=seed, no_grad=no_grad,
            structural_zeros=structural_zeros, cases=cases, shrink=shrink, purity=purity,
            resize=resize, domain=domain, upstream=upstream, rtol=rtol, budget=budget,
            progress=progress,
        )  # fmt: skip
        return replace(report, notes=(*report.notes, NOTE.format(function.__name__)))
    if backward is None and isinstance(forward, type):
        forward = made(forward)
    if backward is None and (is_layer(forward) or is_model(forward)):
        forward = in_precision(forward, dtype)
    layer: Any = forward if backward is None else None
    if is_model(layer):  # whose loss is differentiated by its parameters
        no_grad = {*no_grad, *(name for name in inputs or () if name not in layer.params)}
    own = {name for name in no_grad if name not in (inputs or ()) and parameter(layer, name)}
    specification = specify(inputs, {*no_grad} - own)
    layer = with_learned_floats(layer, specification, own)
    forward = forward if layer is None else layer
    found = own_parameters(specification, layer, reference, own)
    specification = with_scalars(found.specification, forward, backward, no_grad).within(domain)
    names, floats = specification.names, specification.differentiable
    _needs_floats(floats, names)
    candidate = adapt(forward, backward, names, floats)
    if isinstance(candidate, LayerObject):
        candidate.known = found.known
    spent = Budget(budget)
    return Session(
        candidate, specification, _reference(reference, candidate, names, spent), PRECISIONS[dtype],
        spent.errors(dtype, candidate_errors), seed,
        structural_zeros=structural_zeros, only=cases, shrink=shrink, purity=purity,
        resize=resize, upstream=upstream, rtol=rtol, backward_may_fail=True,
        budget=spent, progress=progress,
    ).report()  # fmt: skip


@not_stopped("The Function under check")
def check_torch(
    candidate: Any,
    reference: Any = None,
    inputs: Mapping[str, Any] | None = None,
    *,
    dtype: str = "float64",
    device: str = "cpu",
    seed: int = 0,
    no_grad: Collection[str] = (),
    structural_zeros: Collection[str] = (),
    cases: Collection[str] | None = None,
    shrink: bool = True,
    purity: str = "note",
    resize: bool | None = None,
    domain: Mapping[str, str] | None = None,
    upstream: Any = None,
    rtol: float | None = None,
    budget: float = SECONDS,
    progress: Progress | None = None,
) -> Report:
    """Check a torch callable with its own backward, such as `MyFunction.apply`.

    The reference always runs in float64 on the same inputs, which are numbers that `dtype` can
    hold; what the candidate's dtype rounds away is measured on the reference.

    Args:
        candidate: `MyFunction.apply`, the `torch.autograd.Function` itself, or any torch callable.
        reference: a torch function or nn.Module differentiated by autograd.
        inputs: as for `check`.
        dtype: float64, float32, float16 or bfloat16. Halves hide small mistakes: check the
            derivation in float64 as well.
        device: where both run: cpu, cuda, …; on a GPU without TF32 and with deterministic kernels.
        seed, no_grad, structural_zeros, cases, shrink, purity, resize, domain, upstream, rtol,
        budget, progress: as for `check`.

    Raises:
        UserError: the arguments cannot be used.
    """
    from compare.commands.check.session import Session
    from compare.pair.inputs import specify
    from compare.pair.tolerance import PRECISIONS
    from compare.pair.torch_candidate import TorchCandidate, torch_errors
    from compare.report.report import with_notes
    from torch_ref.gpu import reproducible

    _known(dtype, TORCH_DTYPES, "these are what check_torch runs in")
    if reference is None and dtype != "float64":
        raise UserError(
            f"check_torch in {dtype} needs a reference (--reference FILE.py:NAME): without one the "
            "derivative of the forward pass is taken numerically, which needs float64."
        )
    specification = specify(inputs, no_grad).within(domain)
    names, floats = specification.names, specification.differentiable
    _needs_floats(floats, names)
    with reproducible(device) as undetermined:
        ours = TorchCandidate(candidate, names, floats, dtype, device)
        spent = Budget(budget)
        theirs = _reference(reference, ours, names, spent, device)
        report = Session(
            ours, specification, theirs, PRECISIONS[dtype],
            partial(torch_errors, theirs), seed,
            structural_zeros=structural_zeros, only=cases, shrink=shrink, purity=purity,
            resize=resize, upstream=upstream, rtol=rtol, device=device, backward_may_fail=True,
            budget=spent, progress=progress,
        ).report()  # fmt: skip
    return with_notes(report, undetermined)


def _reference(
    reference: Any, candidate: Any, names: Any, budget: Budget, device: str = "cpu"
) -> Any:
    from compare.pair.objects import made
    from compare.pair.own_forward import OwnForward
    from compare.pair.reference import TorchReference

    if reference is None:
        return OwnForward(candidate, budget)
    if isinstance(reference, type):  # torch.nn:GELU
        reference = made(reference)
    if not callable(reference):
        raise UserError(
            "reference must be a torch function or nn.Module; received a "
            f"{type(reference).__name__}."
        )
    return TorchReference(reference, names, candidate.differentiable, device)


def _known(dtype: str, known: Collection[str], hint: str) -> None:
    if dtype not in known:
        raise UserError(f"dtype '{dtype}' is not known. {nearest(dtype, known)} ({hint}.)")


def _needs_floats(floats: Collection[str], names: Collection[str]) -> None:
    if not floats:
        raise UserError(
            f"No input can have a gradient: of {', '.join(names)} none is a shape or a float "
            "array. Give float arrays (np.array(…, dtype=float)), or shapes as tuples, (4, 3); on "
            "the command line --shape x=4,3, or --value with decimals (x=[1.0,2.0])."
        )


def is_torch_function(thing: Any) -> bool:
    """Return whether this is a torch.autograd.Function or its `apply`, without importing torch."""
    owner = thing if isinstance(thing, type) else getattr(thing, "__self__", None)
    bases = getattr(owner, "__mro__", ())
    return any(base.__module__ == "torch.autograd.function" for base in bases)


def is_module(thing: Any) -> bool:
    """Return whether this is a torch.nn.Module or a class of them, without importing torch."""
    owner = thing if isinstance(thing, type) else type(thing)
    return any(base.__module__ == "torch.nn.modules.module" for base in owner.__mro__)


def _refuse_torch(forward: Any) -> None:
    if is_module(forward):
        raise UserError(
            "A torch.nn.Module has no hand-written backward to check. handgrad.mirror(module, "
            "inputs) derives all of it by hand and compares (handgrad mirror FILE.py:NAME)."
        )
    if is_torch_function(forward):
        raise UserError(
            "A torch.autograd.Function is checked by handgrad.check_torch(MyFunction.apply, …), "
            "in a test by assert_gradients_agree.torch(MyFunction.apply, …)."
        )
