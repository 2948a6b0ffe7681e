"""A mirror as an experiment: the same steps, judged by the same judge."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
from torch import Tensor, nn

from compare.description.config.settings import CompareConfig, TrainConfig
from compare.errors import UserError
from compare.pair.manual_side import ManualSide
from compare.pair.mirror.derive import Deriver
from compare.pair.mirror.given import GivenPiece, given
from compare.pair.mirror.graph import mirrored
from compare.running.experiment import Experiment
from compare.running.mirror.fidelity import prove
from compare.running.mirror.model import Model
from manual import registry
from manual.graph import Array, Arrays
from manual.layer import Layer
from manual.linear import NoCache
from manual.nodes import path_of
from manual.optimizers import Optimizer
from torch_ref.captured_side import CapturedSide

Progress = Callable[[str, int, int], None]
# of which torch's inside is one function that none stands for, if they are opened
OF_ONE_FUNCTION = (
    nn.RNNBase, nn.RNNCellBase, nn.Embedding, nn.EmbeddingBag, nn.CrossMapLRN2d,
)  # fmt: skip

__all__ = ["MirrorConfig", "MirrorExperiment", "prepare"]


class Whole(Layer):
    """Stands where a loss stands: the graph's output is the loss already."""

    def forward(self, output: Array, target: Array) -> tuple[Array, NoCache]:  # type: ignore[override]
        return output * 1, NoCache()

    def backward(self, grad_output: Array, cache: NoCache) -> tuple[tuple[Any, Any], Arrays]:
        return (grad_output, None), {}


class Still(Optimizer):
    """Updates nothing: a mirror without an optimiser."""

    lr = 0.0

    def __init__(self) -> None:
        pass

    def update(self, param: Array, grad: Array, state: Any, lr: float) -> tuple[Array, Any]:
        return param, state

    def step(self, params: Any, grads: Any, states: Any, lr: float | None = None) -> Any:
        return {}, {}


class OwnRate(Optimizer):
    """A parameter group's rule, at the group's learning rate: a mirror has no schedule."""

    def __init__(self, rule: Optimizer) -> None:
        self.rule, self.lr = rule, rule.lr
        self.blockwise, self.elementwise = rule.blockwise, rule.elementwise  # type: ignore[misc]

    def update(self, param: Array, grad: Array, state: Any, lr: float) -> tuple[Array, Any]:
        return self.rule.update(param, grad, state, self.lr)

    def __repr__(self) -> str:
        return repr(self.rule)


@dataclass(frozen=True)
class MirrorConfig:
    """What of a configuration a mirror has."""

    name: str
    train: TrainConfig
    compare: CompareConfig
    inputs: tuple[str, ...]
    described: dict[str, Any]
    layers: tuple[Any, ...] = ()
    loss: Any = field(default_factory=lambda: SimpleNamespace(type="Whole", args={}))
    optimizer: Any = field(default_factory=lambda: SimpleNamespace(schedule=None))

    def as_dict(self) -> dict[str, Any]:
        return self.described


@dataclass(frozen=True)
class MirrorExperiment(Experiment):
    """An experiment whose hand-written side follows from what torch's side captured."""

    model: Any = None
    twin: Any = None  # Mirrored

    def batches(self, steps: int | None = None) -> Iterator[np.ndarray]:
        """Yield nothing to choose, once a step: every step sees the same inputs."""
        yield from (np.empty(0) for _ in range(steps or self.steps))

    def rows(self, batch: np.ndarray) -> tuple[Any, np.ndarray]:
        """Return the inputs and data of the last captured run; there is no target."""
        return self.twin.data, np.zeros(())

    def lr(self, step: int) -> float:
        return self.manual.optimizer.lr

    @property
    def updated(self) -> bool:
        """Whether there is an optimiser."""
        return not isinstance(self.manual.optimizer, Still)

    def captured(self) -> MirrorExperiment:
        """Return the experiment with the hand-written side of torch's last run."""
        side: Any = self.torch
        twin = mirrored(side.network, side.capture, side.loss, side.derive.graphs)
        side.kept = {*twin.graph.params, *twin.missing}
        side.network.given = twin.given
        manual = self.manual._replace(graph=twin.graph)
        return replace(
            self, manual=manual, twin=twin, torch_layers=tuple(twin.by_torch),
            features=twin.data, weights=dict(twin.graph.params),
        )  # fmt: skip


def prepare(
    model: Model, train: TrainConfig, gauge_every: int = 1, twin: Any = None,
    progress: Progress = lambda *_: None,
) -> MirrorExperiment:  # fmt: skip
    """Run the model once under the capture, and build the hand-written side of it.

    Raises:
        UserError: the model cannot be run, or nothing in it has a gradient.
    """
    derive = Deriver(given(twin, [path for path, _ in model.module.named_modules()]))
    side = CapturedSide(
        model.module, model.run, model.inputs, model.optimizer, model.dtype, derive, train.seed
    )
    name = type(model.module).__name__
    derive.whole |= isinstance(model.module, OF_ONE_FUNCTION)
    frozen = frozenset(n for n, p in model.module.named_parameters() if not p.requires_grad)
    manual = ManualSide(
        None, Whole(), (), _optimizer(model), frozen=frozen,  # type: ignore[arg-type]
    )  # fmt: skip
    prove(model, side, progress)
    found = mirrored(side.network, side.capture, side.loss, derive.graphs)
    layers = (node.layer for node in found.graph.nodes)
    nodes = {node.name for node in found.graph.nodes}
    used = {x.path for x in layers if isinstance(x, GivenPiece)} | set(map(path_of, nodes))
    ran = {p.path for p in side.capture.passes} if nodes.intersection(found.given) else set()
    _refuse_unused((*derive.pieces, *derive.graphs), used | ran)
    side.kept = set(found.graph.params)
    config: Any = MirrorConfig(
        name,
        train,
        CompareConfig(drift=False, structural_zeros=("*",), gauge_every=gauge_every),
        tuple(model.inputs),
        {"name": name, "model": name, "steps": train.steps, "dtype": train.dtype},
    )
    schedule: Any = SimpleNamespace(factor=lambda _: 1.0)
    nothing: Any = None
    return MirrorExperiment(
        config, nothing, manual, side, {}, np.dtype(train.dtype), schedule, None, {}, np.zeros(1),
        model=model,
    )  # fmt: skip


def _refuse_unused(pieces: Sequence[str], used: Set[str]) -> None:
    """A piece that never ran must not pass for one that agrees."""
    for path in pieces:
        if path not in used:
            raise UserError(
                f"twin: the piece for '{path}' was never run, so that nothing can be said of it. A "
                "piece stands for a module that is called (not one whose weights are only read), "
                "that does something (not dropout in evaluation), that bears no hooks, is in no "
                "other piece, and through which a gradient reaches the loss."
            )


def _optimizer(model: Model) -> Optimizer:
    """Return the hand-written optimiser with the same settings.

    Raises:
        UserError: there is none of that name.
    """
    theirs = model.optimizer
    if theirs is None:
        return Still()
    from inspect import signature

    from manual.optimizers.groups import Groups

    cls = registry.OPTIMIZERS.get(type(theirs).__name__)
    if cls is None:
        raise UserError(
            f"optimizer: nothing hand-written stands for {type(theirs).__name__}. Those that are: "
            f"{', '.join(registry.OPTIMIZERS)}."
        )
    from torch.optim import LBFGS

    if isinstance(theirs, LBFGS):
        raise UserError(
            "optimizer: LBFGS runs the model several times a step, which a mirror does not follow. "
            "Mirror without an optimizer, or with another."
        )
    names = {id(p): n for n, p in model.module.named_parameters()}
    rules = []
    for group in theirs.param_groups:
        own = {k: _number(group[k]) for k in signature(cls).parameters if k in group}
        try:
            rule = cls(**own)
        except ValueError as error:  # torch takes a rate of nan
            raise UserError(f"optimizer: {error}") from None
        rules.append(([names[id(p)] for p in group["params"] if id(p) in names], rule))
    if left := set(names.values()).difference(*(held for held, _ in rules)):
        rules.append((list(left), Still()))
    first = rules[0][1]
    if len(rules) == 1:
        return first
    return Groups(first, [(held, rule if rule is first else OwnRate(rule)) for held, rule in rules])


def _number(setting: Any) -> Any:
    """Return a setting that is kept as a tensor (a learning rate) as a number."""
    return setting.item() if isinstance(setting, Tensor) else setting
