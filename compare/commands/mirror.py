"""Mirror a torch model: its hand-written twin, made from what one run shows, and the proof."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from compare.commands.mirror_runner import MirrorRunner
from compare.commands.runner import Progress
from compare.errors import not_stopped
from compare.report.report import Report

if TYPE_CHECKING:
    import torch

__all__ = ["mirror", "refuse_settings"]


@not_stopped("The model")
def mirror(
    module: torch.nn.Module, args: Sequence[Any] | Any = (),
    kwargs: Mapping[str, Any] | None = None, *, loss: Callable[..., Any] | None = None,
    optimizer: torch.optim.Optimizer | None = None, steps: int = 1, dtype: str = "float64",
    seed: int = 0, gauge_every: int = 1, twin: Any = None, progress: Progress | None = None,
) -> Report:  # fmt: skip
    """Run a torch model beside its hand-written twin, and compare every value and gradient.

    The model is run once on a copy to see what it computes; each call of a torch.nn layer or a
    torch function gets the hand-written layer that stands for it, and torch computes the few that
    none stands for on both sides. The reference is the model itself, in `dtype`. It is left as it
    was, and so is torch's generator.

    Args:
        module: any torch.nn.Module, on the CPU, in the mode (train or eval) that is meant.
        args, kwargs: what it is called with; a single tensor may stand by itself.
        loss: makes one number of what the module returns, such as
            `lambda output: F.cross_entropy(output, targets)`. Without one: the `loss` that the
            module returns, the number that it returns, or else a random upstream gradient.
        optimizer: of torch.optim, on the module's parameters: each step is followed by its update.
        steps: how many training steps, on the same inputs.
        dtype: `float64` or `float32`.
        seed: of what the model draws.
        gauge_every: derive the tolerances at every so many steps; those between are held against
            the last ones, tensor by tensor, and derived after all where one is exceeded.
        twin: your own NumPy port: pieces by module path, each `(forward, backward)`, an object
            with these methods, or a `manual.Graph`, whose values are compared at the names that
            both sides share; or one of these for the whole model. `forward(x, …)` returns
            `(output, cache)` and takes the module's parameters and buffers by name where it names
            them (`weight`, `fc_weight` for `fc.weight`); `backward(grad_output, cache)` returns
            the parameters' gradients in this order. The rest of the model is derived as ever.
        progress: called as `progress(what, done, total)` after each step.

    Raises:
        UserError: the model cannot be copied, run or captured, or nothing in it has a gradient.

    >>> import torch
    >>> from torch import nn
    >>> mirror(nn.Sequential(nn.Linear(3, 2), nn.Tanh()), torch.ones(2, 3)).verdict
    'agree'
    """
    import torch

    from compare.description.config.settings import TrainConfig
    from compare.running.mirror.experiment import prepare
    from compare.running.mirror.model import Model
    from compare.running.process import at_work
    from torch_ref.operations import without_autocast

    refuse_settings(dtype, steps, seed, gauge_every)
    given = (args,) if isinstance(args, torch.Tensor) else tuple(args)
    default = torch.get_default_dtype()
    try:
        with at_work(), _eagerly(), without_autocast() as asked:
            model = Model.copied(module, given, kwargs or {}, loss, optimizer, dtype)
            torch.set_default_dtype(model.dtype)
            report_to = progress or (lambda *_: None)
            train = TrainConfig(steps=steps, dtype=dtype, seed=seed, batch_size="all")  # type: ignore[arg-type]
            experiment = prepare(model, train, gauge_every, twin, report_to)
            return _told(MirrorRunner(experiment, report_to).run(), asked, dtype)
    finally:
        torch.set_default_dtype(default)


def _told(report: Report, asked: Set[torch.dtype], dtype: str) -> Report:
    """Return the report with a note on autocast, if that was asked for."""
    if not asked:
        return report
    types = ", ".join(sorted(str(t)[6:] for t in asked))
    note = (
        f"The model asks for autocast to {types}, which converted nothing here: all was computed "
        f"in {dtype}. What rounding to {types} does to it was not looked at."
    )
    return replace(report, notes=(*report.notes, note))


def _eagerly() -> AbstractContextManager[Any]:
    """Let what torch.compile made run as it was written: a compiled call cannot be looked into."""
    import sys

    if "torch._dynamo" not in sys.modules:  # nothing is compiled, and importing it is slow
        return nullcontext()
    from torch.compiler import set_stance

    return set_stance("force_eager")  # type: ignore[no-any-return]


def refuse_settings(dtype: str, steps: int, seed: int, gauge_every: int) -> None:
    """Refuse what a mirror cannot be made with.

    Raises:
        UserError: a setting is not known, or out of its range.
    """
    from compare.errors import UserError, nearest
    from torch_ref.side import DTYPES

    if dtype not in DTYPES:
        raise UserError(f"mirror: dtype '{dtype}' is not known. {nearest(dtype, DTYPES)}")
    for name, value, least in (
        ("steps", steps, 1), ("gauge_every", gauge_every, 1), ("seed", seed, 0),
    ):  # fmt: skip
        if not isinstance(value, int) or value < least:
            raise UserError(
                f"mirror: {name} must be a whole number from {least} on, not {value!r}."
            )
    if seed >= 2**63:
        raise UserError(f"mirror: seed must be below 2**63, not {seed}.")
