"""From a configuration to two sides, shared weights and data: everything a run needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from compare.description import build, shapes, weights
from compare.description.config import Config
from compare.description.data import Dataset, load
from compare.description.data.dataset import Inputs, each
from compare.errors import UserError, nearest
from compare.gauge import FORMATS
from compare.judge.quantities import real
from compare.pair import hybrid
from compare.pair.inputs import rounded
from compare.pair.manual_side import ManualSide
from compare.pair.plant import Plant, parse, plant
from compare.running import batches
from manual.initializers import initialize
from torch_ref.draws import NotRecordableError
from torch_ref.gpu import refuse_hidden_draws
from torch_ref.side import TorchSide


@dataclass(frozen=True)
class Experiment:
    """Two sides of one network with shared weights and data; nothing here changes but torch."""

    config: Config
    data: Dataset
    manual: ManualSide
    torch: TorchSide
    weights: weights.Weights
    dtype: np.dtype
    schedule: Any
    mistake: Plant | None
    features: Inputs
    targets: np.ndarray
    torch_layers: tuple[str, ...] = ()  # computed by torch on both sides
    held_out: tuple[Inputs, np.ndarray] = (np.empty(0), np.empty(0))  # rows never trained on

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the network's inputs, which gradients run down to."""
        return self.config.inputs

    @property
    def layers(self) -> Sequence[Any]:
        """What the nodes were built from: each has a name, a type and arguments."""
        return self.config.layers

    @property
    def steps(self) -> int:
        """How many steps are planned."""
        return self.config.train.total_steps(len(self.targets))

    def batches(self, steps: int | None = None) -> Iterator[np.ndarray]:
        """Yield each step's row numbers, of the planned steps or of so many."""
        return batches.batches(len(self.targets), self.config.train, steps)

    def rows(self, batch: np.ndarray) -> tuple[Inputs, np.ndarray]:
        """Return a batch's features and targets in the run's dtype (classes stay integers)."""
        return each(lambda array: array[batch], self.features), self.targets[batch]

    def lr(self, step: int) -> float:
        """Return the step's learning rate; both sides are given this number."""
        return self.manual.optimizer.lr * self.schedule.factor(step)


def prepare(config: Config, *, mistake: str | None = None) -> Experiment:
    """Build both sides from a configuration; every mistake in it is a UserError."""
    import torch

    if config.parallel is not None:
        raise UserError(
            f"{config.name}: [parallel]: this command follows one process. `handgrad run` runs "
            "several; take the table out for anything else."
        )
    described, config = config, _with_weights_held(config)
    data = load(config.data)
    train, held_out = batches.split(data.targets, config)
    _check_batch(config, len(train))
    graph = build.build_graph(config)
    shapes.check_shapes(config, data, graph)
    sizes = {name: tuple(p.shape) for name, p in graph.params.items()}
    penalties, groups = _penalties(config, sizes), _groups(config, sizes)
    manual = ManualSide(
        graph,
        build.build_loss(config),
        [(penalty, names) for penalty, names, _ in penalties],
        build.build_optimizer(config, groups),
        config.optimizer.clip_norm,
        config.optimizer.clip_value,
    )
    _check_device(config.train.device)
    torch.manual_seed(config.train.seed)
    ports = {node.name: node.layer.outputs for node in graph.nodes}
    reference = _torch_side(config, [spec for _, _, spec in penalties], ports, groups)
    _check_draws(config, reference)
    drawn = _draw(config, sizes, graph.stacks)
    weights.check(reference.params(), sizes, where="the torch model")
    planted = parse(mistake, graph) if mistake else None
    if planted:
        manual = plant(manual, planted)
    replaced = hybrid.chosen(config.compare.torch_layers, graph, where="--torch-layers")
    if replaced and config.train.half:
        raise UserError(
            f"--torch-layers: in {config.train.dtype} every layer is compared by itself, on what "
            "torch had there: there is nothing to replace. Leave it out, or use float64."
        )
    modules = {name: reference.network.modules_by_node[name] for name in replaced}
    train_ = config.train
    dtype = np.dtype("float64" if train_.half else train_.dtype)
    held = "float32" if train_.autocast else train_.dtype  # what parameters and inputs are kept in
    given = {name: _in(dtype, _held(array, held, name)) for name, array in drawn.items()}
    both = hybrid.hybrid(manual.graph, modules, reference.device).with_params(given)
    return Experiment(
        described,
        data,
        manual._replace(graph=both),  # which then keeps no weights of its own
        reference,
        given,
        dtype,
        build.build_schedule(config),
        planted,
        each(lambda array: _in(dtype, _held(array[train], held)), data.features),
        _in(dtype, _held(data.targets[train], held)),
        replaced,
        (
            each(lambda array: _in(dtype, _held(array[held_out], held)), data.features),
            _in(dtype, _held(data.targets[held_out], held)),
        ),
    )


def _in(dtype: np.dtype, values: np.ndarray) -> np.ndarray:
    """Return real numbers in the run's dtype; indices stay integers."""
    return values.astype(dtype) if real(values) else values


def _with_weights_held(config: Config) -> Config:
    """Return the loss's lists of numbers, such as weights of classes, as a half holds them."""
    if not config.train.half or config.train.autocast:
        return config
    lists = {k: v for k, v in config.loss.args.items() if isinstance(v, list | tuple)}
    held = {
        k: _held(np.array(v, np.float64), config.train.dtype, k).tolist() for k, v in lists.items()
    }
    loss = config.loss.model_copy(update={"args": {**config.loss.args, **held}})
    return config.model_copy(update={"loss": loss})


def _held(values: np.ndarray, dtype: str, name: str = "") -> np.ndarray:
    """Return real numbers as a half holds them; those of other dtypes are exact already.

    Raises:
        UserError: one is beyond the half's range.
    """
    if not FORMATS[dtype].half or not real(values):
        return values
    found = rounded(values, dtype)
    if not np.isfinite(found).all():
        largest, what = float(np.abs(values).max()), f"'{name}'" if name else "the data"
        raise UserError(
            f"[train] dtype: {dtype} ends at {FORMATS[dtype].largest:,.0f}, and "
            f'{what} holds {largest:g}. Scale the data, or use dtype = "bfloat16".'
        )
    return found


def _torch_side(config: Config, penalties: list, ports: dict, groups: list) -> TorchSide:
    described: dict[str, Any] = {
        "nodes": config.layers,
        "loss": (config.loss.type, config.loss.args),
        "penalties": penalties,
        "optimizer": (config.optimizer.type, config.optimizer.args),
        "clip": (config.optimizer.clip_norm, config.optimizer.clip_value),
        "dtype": config.train.dtype,
        "device": config.train.device,
        "training": not config.train.evaluate,
        "ports": ports,
        "tied": config.tied,
        "inputs": config.inputs,
        "groups": [(names, group.args) for names, group in groups],
        "autocast": config.train.autocast,
        "scaler": None if (s := config.train.scaler) is None else s.model_dump(),
    }
    try:
        side = TorchSide(**described)
        nodes = [
            {"name": n.name, "type": n.type, "args": n.args, "inputs": n.inputs}
            for n in config.layers
        ]
        side.described = described | {"nodes": nodes}
        return side
    except (ValueError, TypeError, KeyError, RuntimeError) as error:
        raise UserError(f"{config.name}: torch refuses this network: {error}.") from None


def _draw(
    config: Config, shapes: dict[str, tuple[int, ...]], stacks: tuple[str, ...]
) -> weights.Weights:
    if config.init.file:
        return weights.read(Path(config.init.file), shapes)
    rng = np.random.default_rng([config.train.seed, batches.WEIGHTS])
    return initialize(
        shapes, config.init.scheme, rng, bias=config.init.bias, stacks=stacks, **config.init.args
    )


def _penalties(config: Config, names: Any) -> list:
    found = []
    for patterns, penalty in build.build_penalties(config):
        hits = _matching(f"A {type(penalty).__name__}", patterns, names)
        coefficient = penalty.coefficient  # type: ignore[attr-defined]
        found.append((penalty, hits, (type(penalty).__name__, coefficient, hits)))
    return found


def _groups(config: Config, names: Any) -> list:
    """Return each group's parameters, those that no group before it has, and its table."""
    found: list = []
    for group in config.optimizer.groups:
        hits = _matching("A group of the optimiser", group.parameters, names)
        taken = {name for before, _ in found for name in before}
        found.append(([name for name in hits if name not in taken], group))
    return found


def _matching(what: str, patterns: Sequence[str], names: Any) -> list[str]:
    hits = [n for n in names if any(fnmatchcase(n, p) for p in patterns)]
    if not hits:
        raise UserError(
            f"{what} applies to {', '.join(patterns)}, which names no parameter. "
            f"{nearest(patterns[0], names, what='Parameters')}"
        )
    return hits


def _check_batch(config: Config, rows: int) -> None:
    size = config.train.batch_size
    if isinstance(size, int) and size > rows:
        name = config.data.dataset or config.data.file
        raise UserError(
            f"[train] batch_size is {size}, but '{name}' has only {rows} rows to train on. "
            f"Use at most {rows}, or the whole data set as one batch."
        )


def _check_draws(config: Config, reference: TorchSide) -> None:
    try:
        refuse_hidden_draws(reference.network.model, config.train.device)
    except NotRecordableError as error:
        raise UserError(f"{config.name}: {error}.") from None


def _check_device(device: str) -> None:
    import torch

    available: dict[str, Any] = {
        "cuda": torch.cuda.is_available,
        "mps": torch.backends.mps.is_available,
    }
    kind = device.partition(":")[0]
    if kind in available and not available[kind]():
        raise UserError(
            f"[train] device is '{device}', but torch {torch.__version__} sees no {kind.upper()} "
            'device. Use device = "cpu".'
        )
