"""A torch model run once, and every call in it that a gradient flows through.

Modules that someone asks to keep stay one call; others are opened, and so are functions that torch
writes in Python. A custom Function is seen through: its forward's calls are captured.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Collection, Container, Iterator, Mapping, Set
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from torch_ref.aliases import storage
from torch_ref.captured import CapturedCall, Passed, Ref, Region, overwritten, tensors_of
from torch_ref.draws import Recorder
from torch_ref.operations import of_one_dtype, operation
from torch_ref.patches import APPLY, CALL, active, patched, unasked
from torch_ref.values import Values, joined

__all__ = ["Capture", "UnforeseenChangeError"]

SILENT = {"_backward_hooks.__set__"}  # autograd's own, of what a Function marks dirty


class Capture(Values, TorchFunctionMode):
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
        Values.__init__(self, module, dtype, careful)
        TorchFunctionMode.__init__(self)
        self.derive, self.whole, self.closed, self.noted = derive, whole, closed, noted
        self.calls: list[CapturedCall] = []
        self.regions: list[Region] = []
        self.passes: list[Passed] = []
        self.followed: set[str] = set()  # buffers that calls write into, and return beside
        self._busy = False
        self._opening: list[Callable] = []
        self._region: Region | None = None

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
        with patched(self.called, self.applied), self:
            return function()

    def real(self) -> set[str]:
        """Return the values that could have a gradient: no integers, masks and statistics."""
        beside = {name for call in self.calls if call.beside for name in call.outputs[1:]}
        numbers = (n for n, t in self.values.items() if t.is_floating_point() or t.is_complex())
        return {name for name in numbers if name not in beside}

    @contextmanager
    def _aside(self, busy: bool = True) -> Iterator[None]:
        """Let the capture's own operations go by; not `busy`: the user's are seen again."""
        before, self._busy = self._busy, busy
        try:
            yield
        finally:
            self._busy = before

    # ── calls ────────────────────────────────────────────────────────────────────────────────────
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

    def _as_data(self, name: str, func: Callable, args: tuple, kwargs: dict) -> Any:
        """Run what no gradient flows through; its results are data, named for what made them."""
        with self._aside():
            found, foreign = func(*args, **kwargs), self.stand_ins.foreign
        if not foreign.isdisjoint(map(id, tensors_of((args, kwargs)))):
            foreign.update(map(id, tensors_of(found)))
        self._from(joined(self._paths[-1], name), tensors_of(found))
        return found

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
        own = path if module is not None else joined(path, name)
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
        several = isinstance(found, tuple) and not isinstance(found, PackedSequence)
        if several and (module is not None or call.twin is None):
            found = tree_map(partial(_seen_as, versions), found)  # one may be made of another
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
        if not {storage(t) for t in live} <= {storage(t) for t in outputs}:
            raise UnforeseenChangeError(call.name)
        for tensor in changed:
            if id(tensor) in returned:
                self.aliases.wrote(tensor, self._where[id(tensor)])
                self.aliases.know(tensor)

    def _overwritten(self, known: str, writer: str, positions: Tensor) -> str:
        own = f"{known.partition(':')[0]}.changed"
        refs = (Ref(known), Ref(writer), positions)
        call = CapturedCall(own, own, "overwrite", overwritten, refs, {}, None, self._region)
        call.twin = self.derive(call)
        call.name = value = self._named(own)
        call.outputs = (value,)
        if self._region is not None:
            self._region.calls.append(call)
        with torch.no_grad():
            found = overwritten(self.values[known], self.values[writer], positions)
        self.values[value] = found
        self.calls.append(call)
        return value

    # ── modules, and functions that are opened ───────────────────────────────────────────────────
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
            with unasked(func), self._aside(False), self:
                return func(*args, **kwargs)
        finally:
            self._opening.pop()

    def _inside(self, module: nn.Module, args: tuple, kwargs: dict) -> Any:
        path = self._modules[id(module)]
        given = self._names_of((args, kwargs)) if path in self.noted else ()
        first, count = len(self.calls), len(self.passes)
        self._paths.append(path)
        try:
            with self._aside(False), nullcontext() if active(self) else self:
                found = CALL(module, *args, **kwargs)
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
            return CALL(module, *args, **kwargs)
        path = self._modules[id(module)]
        with self._aside():
            args, kwargs = self.stand_ins((args, kwargs))
            tensors = tensors_of((args, kwargs))
            reached = any(map(self._differentiable, (*tensors, *module.parameters())))
            if reached and (path or self.whole) and plain(module) and self._holds_its_own(module):
                in_place = getattr(module, "inplace", False)
                return self._recorded(
                    path, partial(CALL, module), args, kwargs, in_place=in_place, module=module
                )
        return self._inside(module, args, kwargs)

    def _holds_its_own(self, module: nn.Module) -> bool:
        """Return whether no parameter was computed and put in its place (torch.func)."""
        return all(id(p) in self._leaves for p in module.parameters())

    # ── custom Functions ─────────────────────────────────────────────────────────────────────────
    def applied(self, function: Any, args: tuple) -> Any:
        """Stand for a custom Function's `apply`: its forward's calls are captured."""
        with self._aside():
            live = {id(t) for t in tensors_of(args) if self._differentiable(t)}
        if self._busy or self._live is not None or not live:
            return APPLY.__get__(None, function)(*args)
        with self._aside():
            region = Region(function, self._paths[-1], self._refs(args))
            region.state = torch.get_rng_state()
        self._live, self._region, count = live, region, len(self.calls)
        try:
            found = APPLY.__get__(None, function)(*args)
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


class UnforeseenChangeError(Exception):
    """A call changed a tensor in place whose old value was not kept."""


def plain(module: nn.Module) -> bool:
    """Return whether a module is its class's forward alone: no hooks, nothing put over it."""
    hooks = (
        module._forward_hooks, module._forward_pre_hooks, module._backward_hooks,
        module._backward_pre_hooks,
    )  # fmt: skip
    return not any(hooks) and "forward" not in vars(module)


def _seen_as(given: Container[int], x: Any) -> Any:
    """Return another tensor of the same numbers; what was given stays what it is."""
    return x.view_as(x) if isinstance(x, Tensor) and id(x) not in given else x


def _within(path: str, outer: str) -> bool:
    return not outer or path == outer or path.startswith(f"{outer}.")


def _calls(noted: Collection[str], path: str) -> int:
    """Return how often a module was noted."""
    return sum(name.partition("@")[0] == path for name in noted)
