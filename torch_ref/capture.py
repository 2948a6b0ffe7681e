"""A torch model run once, and every call in it that a gradient flows through.

Modules that someone asks to keep stay one call; others are opened, and so are functions that torch
writes in Python. Values have names: `path.operation` in the module that calls, and a module's
output is its path. Whatever no gradient flows through (masks, positions) is data.
"""

from __future__ import annotations

import types
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Set
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._C import _FunctionBase as FunctionBase  # type: ignore[attr-defined]
from torch.autograd.function import _SingleLevelFunction as SingleLevel
from torch.nn.utils.rnn import PackedSequence
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from torch_ref.aliases import Aliases
from torch_ref.captured import (
    CapturedCall,
    PackedRefs,
    Passed,
    Ref,
    Region,
    overwritten,
    same_generator,
    tensors_of,
)  # fmt: skip
from torch_ref.draws import Recorder
from torch_ref.operations import of_one_dtype, operation
from torch_ref.stand_ins import StandIns

__all__ = ["Capture", "UnforeseenChangeError"]

CONSTANT = {"new_zeros", "new_ones", "new_empty", "new_full", "sign", "floor", "round"}
SILENT = {"_backward_hooks.__set__"}  # autograd's own, of what a Function marks dirty


class Capture(TorchFunctionMode):
    """Captures one run of a function on a module; torch computes it as it would without.

    Args:
        module: whose parameters, buffers and submodules give names.
        dtype: the run's; conversions to another floating type are left out, and counted.
        derive: asked before each call that a gradient flows through; what it returns becomes the
            call's `twin`. None opens the call, or leaves it to torch where it cannot be opened.
        whole: ask about the module itself too, which is opened else.
        careful: copy every value when it is born, not only before operations known to be in place.
        closed: custom Functions that are not looked into: torch computes them.
        noted: paths of modules whose passes are noted, with those of the modules inside.
    """

    def __init__(
        self,
        module: nn.Module,
        dtype: torch.dtype,
        derive: Callable[[CapturedCall], Any] = lambda call: True,
        *,
        whole: bool = False,
        careful: bool = False,
        closed: Collection[type] = (),
        noted: Collection[str] = (),
    ) -> None:
        super().__init__()
        self.noted = noted
        self.passes: list[Passed] = []
        self.whole, self.closed = whole, closed
        self.stand_ins = StandIns(dtype, {})
        self.module, self.dtype, self.derive, self.careful = module, dtype, derive, careful
        self.calls: list[CapturedCall] = []
        self.regions: list[Region] = []
        self.values: dict[str, Tensor] = {}  # as they were born
        self.grads: dict[str, Tensor] = {}  # filled by backward
        self.taps: dict[str, Tensor] = {}  # the tensors themselves
        self.data: dict[str, Tensor] = {}
        self.notes: Counter[str] = Counter()
        self.followed: set[str] = set()  # buffers that calls write into, and return beside
        self.aliases = Aliases()
        self.untold: set[str] = set()  # values of which torch tells no gradient, once closed
        self._names: Counter[str] = Counter()
        self._where: dict[int, str] = {}
        self._version: dict[int, int] = {}
        self._origin: dict[int, str] = {}
        self._keep: list[Any] = []
        self._layouts: dict[int, Any] = {}  # of named tensors: their shapes and strides
        self._paths = [""]
        self._busy = False
        self._opening: list[Callable] = []
        self._live: set[int] | None = None  # inside a custom Function: what its gradient is of
        self._region: Region | None = None
        self._modules = {id(m): name for name, m in module.named_modules()}
        self._leaves = {id(p): name for name, p in module.named_parameters()}
        self._names.update(name for name, p in module.named_parameters() if p.requires_grad)
        self._buffers = {id(b): name for name, b in module.named_buffers()}

    # ── running ──────────────────────────────────────────────────────────────────────────────────
    def run(
        self, function: Callable, inputs: Mapping[str, Tensor],
        data: Mapping[str, Tensor] | None = None,
    ) -> Any:  # fmt: skip
        """Call `function()` under the capture; it gets these tensors, the data without gradient."""
        for name, tensor in (data or {}).items():
            self._from(name, [tensor])
        for name, tensor in inputs.items():
            self._names[name] += 1
            self._bind(name, tensor)
        with _patched(self), self:
            return function()

    def name(self, module: nn.Module, path: str) -> None:
        """Give a module beside the model a path, and with it what it holds."""
        for name, inner in module.named_modules():
            self._modules.setdefault(id(inner), f"{path}.{name}" if name else path)
        for name, parameter in module.named_parameters():
            self._leaves.setdefault(id(parameter), f"{path}.{name}")

    @contextmanager
    def at(self, path: str) -> Iterator[None]:
        """Name what is computed here as if a module of this path did it."""
        self._paths.append(path)
        try:
            yield
        finally:
            self._paths.pop()

    def also(self, name: str, known: str) -> None:
        """Let a value of the run be known by a second name."""
        for kept in (self.values, self.grads, self.taps):
            if known in kept:
                kept[name] = kept[known]
        if known in self.untold:
            self.untold.add(name)

    def name_of(self, tensor: Tensor) -> str:
        """Return the name of a value, as the run left it."""
        return self._ref(tensor).name

    @contextmanager
    def _aside(self, busy: bool = True) -> Iterator[None]:
        """Let the capture's own operations go by; not `busy`: the user's are seen again."""
        before, self._busy = self._busy, busy
        try:
            yield
        finally:
            self._busy = before

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        args, kwargs = self.stand_ins((args, kwargs or {}))
        if self._busy:
            return func(*args, **kwargs)
        name, in_place = operation(func)
        if name in SILENT:
            return func(*args, **kwargs)
        (func, name, args, kwargs), said = of_one_dtype(self.dtype, func, name, args, kwargs)
        if said is not None:
            self.notes[f"the model asks for {said}, and the run stays in {self.dtype}"] += 1
        found = tensors_of((args, kwargs))
        if not any(map(self._differentiable, found)):
            return self._as_data(name, func, args, kwargs)
        if isinstance(kwargs.get("out"), Tensor):
            return self._written_out(func, types, args, dict(kwargs))
        in_place = in_place or kwargs.get("inplace") is True
        return self._recorded(name, func, args, kwargs, in_place=in_place)

    def _written_out(self, func: Any, types: Any, args: tuple, kwargs: dict) -> Any:
        """Compute, then copy: what `out=` does where no gradient is kept, in two calls."""
        out = kwargs.pop("out")
        found = self.__torch_function__(func, types, args, kwargs)
        with self._aside():
            if out.shape != found.shape:
                out.resize_(found.shape)
        return self.__torch_function__(Tensor.copy_, types, (out, found))

    def _recorded(
        self, name: str, func: Callable, args: tuple, kwargs: dict, *,
        in_place: bool = False, module: nn.Module | None = None,
    ) -> Any:  # fmt: skip
        path = self._paths[-1] if module is None else name
        what = name if module is None else type(module).__name__
        own = path if module is not None else _joined(path, name)
        places, named = self._refs((args, kwargs))
        region = self._region
        call = CapturedCall(own, path, what, func, places, named, module, region, in_place)
        call.twin = self.derive(call)
        if call.twin is None and self._can_open(func, module):
            return self._opened(func, args, kwargs, module)
        before = tensors_of((args, kwargs))
        if in_place:
            self._save(before)
        versions = {id(t): t._version for t in before}
        found = self._run(call, func, args, kwargs)
        if (
            module is not None
            and isinstance(found, tuple)
            and not isinstance(found, PackedSequence)
        ):
            found = tree_map(_seen_as, found)  # one may be computed from another inside
        outputs = tensors_of(args[0] if name == "setitem" else found)
        changed = {id(t) for t in before if t._version != versions[id(t)]}
        if not changed and all(id(t) in versions for t in outputs):
            return found  # nothing came of it, or its input itself
        if not changed and not self._carries(what, outputs):
            self._from(own, outputs)
            return found
        if changed and not (in_place or self.careful):
            raise UnforeseenChangeError(own)
        call.in_place = bool(changed)
        left = call.statistics(args, kwargs)
        call.beside = (getattr(call.twin, "ports", None) or ())[len(outputs) :] if left else ()
        for tensor in (left[name] for name in call.beside):
            self._where.pop(id(tensor), None)  # torch does not count its versions
            self.followed.add(self._buffers.get(id(tensor), ""))
            outputs.append(tensor.detach().clone())
        self._leave(call, outputs, {i for i in versions if i not in changed})
        self._written(call, [t for t in before if id(t) in changed], outputs)
        return found

    def _run(self, call: CapturedCall, func: Callable, args: tuple, kwargs: dict) -> Any:
        call.state = torch.get_rng_state()
        recorder = Recorder() if getattr(call.twin, "stochastic", False) else None
        with self._aside(), recorder or nullcontext():
            found = func(*args, **kwargs)
        call.draws = recorder.draws if recorder else []
        return found

    def _leave(
        self, call: CapturedCall, outputs: list[Tensor], given: Set[int] = frozenset()
    ) -> None:
        """Name what a call returned; integers and masks are compared, and data to all others.

        An output that was `given` as it is keeps the name that it has.
        """
        call.name = self._named(call.name)
        ports = getattr(call.twin, "ports", None) or [str(i) for i in range(len(outputs))]
        names = [call.name, *(f"{call.name}:{port}" for port in ports[1:])]
        for name, tensor in zip(names, outputs, strict=False):
            if id(tensor) in given:
                self.values[name] = tensor.detach()
            elif tensor.is_floating_point() or tensor.is_complex():
                self._bind(name, tensor)
                if self._live is not None:
                    self._live.add(id(tensor))
            else:
                self.values[name] = tensor.detach()
                self._origin[id(tensor)] = f"{call.name}.data"
                self._keep.append(tensor)
        call.outputs = tuple(names[: len(outputs)])
        self.calls.append(call)
        if self._region is not None:
            self._region.calls.append(call)

    def _written(self, call: CapturedCall, changed: list[Tensor], outputs: list[Tensor]) -> None:
        """Take note of what a call wrote into: what it returned, and what shares memory with it."""
        returned = {id(t) for t in outputs}
        live = (t for t in changed if self._differentiable(t))  # statistics are read anew
        if not {_storage(t) for t in live} <= {_storage(t) for t in outputs}:
            raise UnforeseenChangeError(call.name)
        for tensor in changed:
            if id(tensor) in returned:
                self.aliases.wrote(tensor, self._where[id(tensor)])
                self.aliases.know(tensor)

    def _can_open(self, func: Callable, module: nn.Module | None) -> bool:
        """Return whether a call is written in Python, so that its inner calls can be captured."""
        if module is not None:
            return True
        python = isinstance(func, types.FunctionType) and func.__module__.startswith("torch")
        return python and func not in self._opening

    def _opened(self, func: Callable, args: tuple, kwargs: dict, module: nn.Module | None) -> Any:
        if module is not None:
            return self._inside(module, args, kwargs)
        self._opening.append(func)
        try:
            with _unasked(func), self._aside(False), self:
                return func(*args, **kwargs)
        finally:
            self._opening.pop()

    def _inside(self, module: nn.Module, args: tuple, kwargs: dict) -> Any:
        path = self._modules[id(module)]
        given = self._names_of((args, kwargs)) if path in self.noted else ()
        first, count = len(self.calls), len(self.passes)
        self._paths.append(path)
        try:
            with self._aside(False), nullcontext() if _active(self) else self:
                found = _CALL(module, *args, **kwargs)
        finally:
            self._paths.pop()
        if any(_within(path, noted) for noted in self.noted):
            self._note(path, given, self._names_of(found), first, count)
        return found

    def _names_of(self, tree: Any) -> tuple[str, ...]:
        with self._aside():
            return tuple(self._ref(t).name for t in tensors_of(tree))

    def _note(
        self, path: str, given: tuple[str, ...], returned: tuple[str, ...], first: int, count: int
    ) -> None:
        """Take note of a pass; those inside it become part of it."""
        inner: dict[str, tuple[str, ...]] = {}
        for passed in self.passes[count:]:
            own = f"{passed.path}@{n}" if (n := _calls(inner, passed.path)) else passed.path
            inner |= {own: passed.outputs, **passed.inner}
        number = sum(p.path == path for p in self.passes[:count])
        passed = Passed(path, number, given, returned, inner, first, len(self.calls))
        self.passes[count:] = [passed]

    def called(self, module: nn.Module, args: tuple, kwargs: dict) -> Any:
        """Stand for a module's call: one call of its own, or those inside."""
        if self._busy or id(module) not in self._modules:
            return _CALL(module, *args, **kwargs)
        path = self._modules[id(module)]
        with self._aside():
            args, kwargs = self.stand_ins((args, kwargs))
            tensors = tensors_of((args, kwargs))
            reached = any(map(self._differentiable, (*tensors, *module.parameters())))
            if reached and (path or self.whole) and plain(module) and self._holds_its_own(module):
                in_place = getattr(module, "inplace", False)
                return self._recorded(
                    path, partial(_CALL, module), args, kwargs, in_place=in_place, module=module
                )
        return self._inside(module, args, kwargs)

    def _holds_its_own(self, module: nn.Module) -> bool:
        """Return whether no parameter was computed and put in its place (torch.func)."""
        return all(id(p) in self._leaves for p in module.parameters())

    def applied(self, function: Any, args: tuple) -> Any:
        """Stand for a custom Function's `apply`: its forward's calls are captured."""
        with self._aside():
            live = {id(t) for t in tensors_of(args) if self._differentiable(t)}
        if self._busy or self._live is not None or not live:
            return _APPLY.__get__(None, function)(*args)
        with self._aside():
            region = Region(function, self._paths[-1], self._refs(args))
            region.state = torch.get_rng_state()
        self._live, self._region, count = live, region, len(self.calls)
        try:
            found = _APPLY.__get__(None, function)(*args)
        finally:
            self._live = self._region = None
        with self._aside():
            return self._seen_through(region, count, found)

    def _seen_through(self, region: Region, count: int, found: Any) -> Any:
        outputs = [t for t in tensors_of(found) if t.requires_grad]
        names = [self._where.get(id(t)) for t in outputs]
        made = {name for call in region.calls for name in call.outputs}
        out_of_sight = not outputs or any(name not in made for name in names)
        if out_of_sight or region.function in self.closed:
            del self.calls[count:]  # part of it is out of sight: torch computes all of it
            return self._opaque(region, found)
        region.outputs = tuple(names)  # type: ignore[arg-type]
        within = set().union(*(call.refs() for call in region.calls))
        for name, tensor in zip(region.outputs, outputs, strict=True):
            self._version[id(tensor)] = tensor._version
            if name not in within:  # else torch tells but what comes from outside
                self._tap(name, tensor)
        for tensor in tensors_of(found):
            if not tensor.requires_grad and self._where.pop(id(tensor), ""):
                self._origin[id(tensor)] = f"{region.name}.data"  # no gradient flows on from it
        self.regions.append(region)
        return found

    def _opaque(self, region: Region, found: Any) -> Any:
        outputs = tensors_of(found)
        if not outputs:
            return found
        name, apply = region.function.__name__, region.function.apply  # type: ignore[attr-defined]
        call = CapturedCall(region.name, region.path, name, apply, region.args, {}, in_place=True)
        call.twin, call.state = self.derive(call), region.state
        why = "cannot be seen through (it compares, rounds or leaves torch)"
        self.notes[f"{name} {why}: its backward was not checked"] += 1
        self._leave(call, outputs)
        return found

    # ── values ───────────────────────────────────────────────────────────────────────────────────
    def _differentiable(self, tensor: Tensor) -> bool:
        if self._live is not None:
            return id(tensor) in self._live or (id(tensor) in self._leaves and tensor.requires_grad)
        return tensor.requires_grad and torch.is_grad_enabled()

    def _bind(self, name: str, tensor: Tensor) -> None:
        """Give a tensor a name, keep its value, and wait for its gradient."""
        self._where[id(tensor)], self._version[id(tensor)] = name, tensor._version
        self._keep.append(tensor)
        self.values[name] = tensor.detach().clone() if self.careful else tensor.detach()
        self.aliases.know(tensor)
        layout = tuple(tensor.shape), tensor.stride(), tensor.storage_offset()
        moved = self._layouts.setdefault(id(tensor), layout) != layout
        self._layouts[id(tensor)] = layout
        # inside a custom Function autograd tells nothing; after y.t_() the gradient before it
        if self._live is None and not moved:
            self._tap(name, tensor)

    def tensor(self, name: str) -> Tensor:
        """Return what is known under a name: a value, data, or a parameter."""
        found = self.values.get(name, self.data.get(name))
        return self.module.get_parameter(name).detach() if found is None else found

    def close(self) -> None:
        """Take note of what only the run itself can tell, before anything is updated in place."""
        self.untold = {name for name in self.values if self._untold(name)}
        owned = {_storage(p) for p in self.module.parameters()}
        for name, tensor in self.values.items():
            if _storage(tensor) in owned:  # a view of a parameter
                self.values[name] = tensor.clone()
                self.taps.pop(name, None)

    def real(self) -> set[str]:
        """Return the values that could have a gradient: no integers, masks and statistics."""
        beside = {name for call in self.calls if call.beside for name in call.outputs[1:]}
        numbers = (n for n, t in self.values.items() if t.is_floating_point() or t.is_complex())
        return {name for name in numbers if name not in beside}

    def _untold(self, name: str) -> bool:
        """Return whether torch tells no gradient of a value though one may flow through it.

        Inside a custom Function none is kept; where memory was written into, autograd goes round.
        """
        if name not in self.taps:
            return True
        tap = self.taps[name]
        return self.aliases.tangled(tap) or (self.aliases.written(tap) and name not in self.grads)

    def _tap(self, name: str, tensor: Tensor) -> None:
        if not tensor.requires_grad:
            return
        self.taps[name] = tensor
        if tensor.is_leaf:
            return  # its .grad has it

        def keep(grad: Tensor | None) -> None:
            if grad is None:
                return
            known = self.grads.get(name)
            self.grads[name] = grad.detach() if known is None else known + grad

        tensor.register_hook(keep)

    def _save(self, tensors: list[Tensor]) -> None:
        """Copy what an operation in place is about to change, under all its names."""
        storages = {_storage(t) for t in tensors}
        for kept in (self.values, self.data):
            for name, tensor in kept.items():
                if _storage(tensor) in storages:
                    kept[name] = tensor.clone()

    def _refs(self, tree: Any) -> Any:
        def ref(x: Any) -> Any:
            if isinstance(x, PackedSequence):
                return PackedRefs(*(self._refs(part) for part in x))
            if isinstance(x, torch.Generator):
                return same_generator(x)
            return self._ref(x) if isinstance(x, Tensor) else x

        return tree_map(ref, tree, is_leaf=lambda x: isinstance(x, PackedSequence))

    def _ref(self, tensor: Tensor) -> Ref:
        known = self._where.get(id(tensor))
        if known is not None:
            if tensor._version != self._version[id(tensor)]:
                return self._changed(known, tensor)
            return Ref(known)
        if id(tensor) in self._leaves and tensor.requires_grad:
            return Ref(self._leaves[id(tensor)])
        return self._datum(tensor)

    def _datum(self, tensor: Tensor) -> Ref:
        """Take a tensor as data: a copy of what it holds now."""
        origin = self._buffers.get(id(tensor)) or self._leaves.get(id(tensor))
        origin = origin or self._origin.get(id(tensor)) or _joined(self._paths[-1], "constant")
        foreign = id(tensor) in self.stand_ins.foreign
        if (tensor.requires_grad or foreign) and torch.is_grad_enabled():
            known = "has a gradient, and is no parameter of the model: it was not compared"
            self.notes[f"{origin} {known}"] += 1
        name = self._named(origin)
        self._where[id(tensor)], self._version[id(tensor)] = name, tensor._version
        self._keep.append(tensor)
        self.data[name] = tensor.detach().clone()
        return Ref(name)

    def _changed(self, known: str, tensor: Tensor) -> Ref:
        """Return a value that was changed through others which share its memory."""
        writers = self.aliases.writers_of(tensor)
        if not self._differentiable(tensor) or not writers:
            if self._differentiable(tensor):
                self.notes[f"{known} was changed where nothing could be seen"] += 1
            self._origin.setdefault(id(tensor), known)
            return self._datum(tensor)
        value = known
        for writer, positions in writers:
            own = f"{known.partition(':')[0]}.changed"
            refs = (Ref(value), Ref(writer), positions)
            call = CapturedCall(own, own, "overwrite", overwritten, refs, {}, None, self._region)
            call.twin = self.derive(call)
            call.name = value = self._named(own)
            call.outputs = (value,)
            if self._region is not None:
                self._region.calls.append(call)
            with torch.no_grad():
                found = overwritten(self.values[known], self.values[writer], positions)
            self.values[value] = found
            known = value
            self.calls.append(call)
        self._bind(value, tensor)
        return Ref(value)

    def _as_data(self, name: str, func: Callable, args: tuple, kwargs: dict) -> Any:
        """Run what no gradient flows through; its results are data, named for what made them."""
        with self._aside():
            found, foreign = func(*args, **kwargs), self.stand_ins.foreign
        if not foreign.isdisjoint(map(id, tensors_of((args, kwargs)))):
            foreign.update(map(id, tensors_of(found)))
        self._from(_joined(self._paths[-1], name), tensors_of(found))
        return found

    def _from(self, name: str, tensors: list[Tensor]) -> None:
        """Remember by which name data are to be known, should anything take them."""
        for tensor in tensors:
            if id(tensor) not in self._where and id(tensor) not in self._leaves:
                self._origin[id(tensor)] = name
                self._keep.append(tensor)

    def _carries(self, name: str, outputs: list[Tensor]) -> bool:
        """Return whether a gradient may flow through what a call returned."""
        if self._live is None:
            return any(t.requires_grad for t in outputs)
        numbers = any(t.is_floating_point() or t.is_complex() for t in outputs)
        return numbers and name not in CONSTANT and not name.endswith("_like")

    def _named(self, name: str) -> str:
        count = self._names[name]
        self._names[name] += 1
        if not count:
            return name
        modules = name in self._modules.values()
        return self._named(f"{name}@{count}") if modules else self._named(f"{name}_{count}")


class UnforeseenChangeError(Exception):
    """A call changed a tensor in place whose old value was not kept."""


def plain(module: nn.Module) -> bool:
    """Return whether a module is its class's forward alone: no hooks, nothing put over it."""
    hooks = (
        module._forward_hooks, module._forward_pre_hooks, module._backward_hooks,
        module._backward_pre_hooks,
    )  # fmt: skip
    return not any(hooks) and "forward" not in vars(module)


def _seen_as(x: Any) -> Any:
    return x.view_as(x) if isinstance(x, Tensor) else x


def _within(path: str, outer: str) -> bool:
    return not outer or path == outer or path.startswith(f"{outer}.")


def _calls(noted: Collection[str], path: str) -> int:
    """Return how often a module was noted."""
    return sum(name.partition("@")[0] == path for name in noted)


def _joined(path: str, name: str) -> str:
    name = name.replace(".", "_")
    return f"{path}.{name}" if path else name


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _active(mode: TorchFunctionMode) -> bool:
    from torch.overrides import _get_current_function_mode_stack

    return any(m is mode for m in _get_current_function_mode_stack())


@contextmanager
def _unasked(function: Any) -> Iterator[None]:
    """Let a Python function of torch's run its body: at first it asks whether a mode wants it."""
    scope = function.__globals__
    asked = {name: f for name, f in scope.items() if name.startswith("has_torch_function")}

    def once(*_: Any) -> bool:
        scope.update(asked)
        return False

    scope.update(dict.fromkeys(asked, once))
    try:
        yield
    finally:
        scope.update(asked)


_CALL = nn.Module.__call__
_APPLY = FunctionBase.__dict__["apply"]  # what any `MyFunction.apply` ends in, kept or not


@contextmanager
def _patched(capture: Capture) -> Iterator[None]:
    """Let modules' and custom Functions' calls go through the capture."""

    def call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return capture.called(module, args, kwargs)

    def apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
        return capture.applied(cls, args)

    nn.Module.__call__ = call  # type: ignore[method-assign]
    SingleLevel.apply = classmethod(apply)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        nn.Module.__call__ = _CALL  # type: ignore[method-assign]
        del SingleLevel.apply  # type: ignore[attr-defined]
