"""What torch tests its own modules with: constructor arguments, state and inputs, by module.

The tables are private to torch (`torch.testing._internal`) and change between versions; what is
counted is counted with one version, which the result names.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from evidence.corpus.functional import as_module, modules_of

__all__ = ["CORPORA", "Refusal", "Sample", "flags_kept", "names", "refusals", "samples"]

SEED = 0


class Sample(NamedTuple):
    """One call of a module.

    Attributes:
        corpus, module, name: where it is from; `module` is a class of torch.nn.
        arguments, options: of the constructor.
        reference: what torch computes: the module, or a function of the inputs.
        state: parameters and buffers by name.
        inputs, named: of forward.
        training: the mode.
    """

    corpus: str
    module: str
    name: str
    arguments: tuple[Any, ...]
    options: Mapping[str, Any]
    reference: Callable
    state: Mapping[str, Tensor]
    inputs: tuple[Any, ...]
    named: Mapping[str, Any]
    training: bool


class Refusal(NamedTuple):
    """A call that torch refuses: in the constructor, or in forward."""

    corpus: str
    module: str
    name: str
    arguments: tuple[Any, ...]
    options: Mapping[str, Any]
    inputs: tuple[Any, ...] | None  # None: the constructor refuses
    named: Mapping[str, Any]


def samples(
    module: str, dtype: torch.dtype = torch.float64, corpora: tuple[str, ...] = ()
) -> Iterator[Sample]:
    """Yield every sample of a module, the same ones each time."""
    for corpus, found in CORPORA.items():
        if not corpora or corpus in corpora:
            torch.manual_seed(SEED)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield from found(module, dtype)


def names() -> list[str]:
    """Return the modules and optimisers that any corpus has."""
    with flags_kept():
        from torch.testing._internal.common_optimizers import optim_db

    classes: Any = (info.optim_cls for info in optim_db)  # annotated as instances
    return sorted(
        {*_module_infos(), *_functionals(), *_legacy_tests(), *(c.__name__ for c in classes)}
    )


# ── module_db ────────────────────────────────────────────────────────────────────────────────────
@contextmanager
def flags_kept() -> Iterator[None]:
    """Import torch's tests without their lock on global flags, which whoever runs after needs."""
    try:
        yield
    finally:
        lock = torch.backends.disable_global_flags.__globals__  # where its flag lives
        lock["__allow_nonbracketed_mutation_flag"] = True


@cache
def _module_infos() -> dict[str, Any]:
    with flags_kept():
        from torch.testing._internal.common_modules import module_db

    return {info.module_cls.__name__: info for info in module_db}


def _of_module_db(module: str, dtype: torch.dtype) -> Iterator[Sample]:
    info = _module_infos().get(module)
    if info is None:
        return
    for training in (True, False) if info.train_and_eval_differ else (True,):
        made = info.module_inputs_func(
            info, device="cpu", dtype=dtype, requires_grad=True, training=training
        )
        for i, m in enumerate(made):
            mode = "" if training else " evaluation"
            given = m.constructor_input
            twin = _built(info.module_cls, given.args, given.kwargs, dtype, training)
            if info.is_lazy:  # its first pass gives it parameters
                twin(*m.forward_input.args)
            yield Sample(
                "module_db", module, f"{i} {m.desc}{mode}".strip(), given.args, given.kwargs, twin,
                _state(twin), m.forward_input.args, m.forward_input.kwargs, training,
            )  # fmt: skip


def refusals(module: str, dtype: torch.dtype = torch.float64) -> Iterator[Refusal]:
    """Yield the calls of module_db that torch refuses."""
    info = _module_infos().get(module)
    if info is None or info.module_error_inputs_func is None:
        return
    torch.manual_seed(SEED)
    from torch.testing._internal.common_modules import ModuleErrorEnum

    made = info.module_error_inputs_func(
        info, device="cpu", dtype=dtype, requires_grad=True, training=True
    )
    for i, error in enumerate(made):
        m = error.module_error_input
        forward = error.error_on is ModuleErrorEnum.FORWARD_ERROR
        yield Refusal(
            "module_db", module, f"{i} {m.desc}".strip(), m.constructor_input.args,
            m.constructor_input.kwargs, m.forward_input.args if forward else None,
            m.forward_input.kwargs if forward else {},
        )  # fmt: skip


# ── op_db ────────────────────────────────────────────────────────────────────────────────────────
@cache
def _functionals() -> dict[str, list[Any]]:
    """Return op_db's functionals by the module that computes the same."""
    with flags_kept():
        from torch.testing._internal.common_methods_invocations import op_db

    found: dict[str, list[Any]] = {}
    for info in op_db:
        name = info.name.removeprefix("nn.functional.")
        if info.name.startswith("nn.functional."):
            for module in modules_of(name):
                found.setdefault(module, []).append(info)
    return found


def _of_op_db(module: str, dtype: torch.dtype) -> Iterator[Sample]:
    for info in _functionals().get(module, ()):
        variant = f"{info.name} {info.variant_test_name}".strip()
        for i, given in enumerate(info.sample_inputs("cpu", dtype, requires_grad=True)):
            call = as_module(module, info, given)
            if call is not None:
                yield Sample(
                    "op_db", module, f"{variant} {i}", (), call.options, call.reference,
                    call.state, call.inputs, call.named, call.training,
                )  # fmt: skip


# ── the legacy tests ─────────────────────────────────────────────────────────────────────────────
@cache
def _legacy_tests() -> dict[str, list[dict[str, Any]]]:
    with flags_kept():
        from torch.testing._internal import common_nn

    found: dict[str, list[dict[str, Any]]] = {}
    tables = (common_nn.module_tests, common_nn.get_new_module_tests(), common_nn.criterion_tests)
    for test in (test for table in tables for test in table):
        name = str(test.get("module_name", ""))
        if isinstance(getattr(nn, name, None), type) and "reference_fn_only" not in test:
            found.setdefault(name, []).append(test)
    return found


def _of_legacy(module: str, dtype: torch.dtype) -> Iterator[Sample]:
    for i, test in enumerate(_legacy_tests().get(module, ())):
        arguments = _value(test, "constructor_args") or ()
        twin = _built(getattr(nn, module), arguments, {}, dtype, True)
        inputs = [_tensor(_value(test, "input"), dtype)]
        if any(key.startswith("target") for key in test):
            inputs.append(_tensor(_value(test, "target"), dtype, leaf=False))
        flat = tuple(
            x for given in inputs for x in (given if isinstance(given, tuple) else [given])
        )
        name = f"{i} {test.get('desc', '')}".strip()
        yield Sample(
            "common_nn", module, name, tuple(arguments), {}, twin, _state(twin), flat, {}, True
        )


def _value(test: Mapping[str, Any], what: str) -> Any:
    if f"{what}_fn" in test:
        return test[f"{what}_fn"]()
    if f"{what}_size" in test:
        return torch.randn(test[f"{what}_size"])
    return test.get(what)


def _tensor(value: Any, dtype: torch.dtype, *, leaf: bool = True) -> Any:
    if isinstance(value, tuple | list) and not isinstance(value, torch.Size):
        return tuple(_tensor(part, dtype, leaf=leaf) for part in value)
    if isinstance(value, Tensor) and value.is_floating_point():
        return value.detach().to(dtype).requires_grad_(leaf)
    return value


# ── torch's side ─────────────────────────────────────────────────────────────────────────────────
def _built(
    cls: type[nn.Module], args: tuple, kwargs: Mapping[str, Any], dtype: torch.dtype, training: bool
) -> nn.Module:
    args, kwargs = copy.deepcopy((args, dict(kwargs)))
    return cls(*args, **kwargs).to(dtype).train(training)


def _state(module: nn.Module) -> dict[str, Tensor]:
    from torch.nn.parameter import is_lazy

    return {
        name: value.detach().clone()
        for name, value in module.state_dict().items()
        if not is_lazy(value)
    }


CORPORA: dict[str, Callable[[str, torch.dtype], Iterator[Sample]]] = {
    "module_db": _of_module_db,
    "op_db": _of_op_db,
    "common_nn": _of_legacy,
}
