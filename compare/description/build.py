"""From a configuration to the hand-written objects that it names."""

from __future__ import annotations

from collections.abc import Sequence

from compare.description.config import Config
from compare.errors import UserError
from manual.graph import Graph, Layer, Node
from manual.optimizers import Optimizer
from manual.optimizers.groups import Groups
from manual.schedules import Constant, Schedule


def build_graph(config: Config) -> Graph:
    """Return the network with zero parameters; nodes named and connected as described.

    Raises:
        UserError: the layers form a cycle, or one leads nowhere.
    """
    nodes = [Node(layer.name, layer.build(), layer.inputs) for layer in config.layers]
    try:
        graph = Graph(nodes, config.inputs, tied=config.tied)
        return graph.train(False) if config.train.evaluate else graph
    except ValueError as error:
        raise UserError(f"{config.name}: [[layers]]: {error}") from None


def build_loss(config: Config) -> Layer:
    """Return the loss without its penalties."""
    return config.loss.build()


def build_penalties(config: Config) -> list[tuple[tuple[str, ...], Layer]]:
    """Return each penalty after the patterns of the parameters that it applies to."""
    return [(penalty.parameters, penalty.build()) for penalty in config.loss.penalties]


def build_optimizer(config: Config, groups: Sequence[tuple] = ()) -> Optimizer:
    """Return the optimiser, with groups if there are any: names of parameters, and their table."""
    optimizer = config.optimizer.build()
    rules = [(names, config.optimizer.build_group(group)) for names, group in groups]
    return Groups(optimizer, rules) if rules else optimizer


def build_schedule(config: Config) -> Schedule:
    """Return what gives the learning rate's factor at each step."""
    schedule = config.optimizer.schedule
    return Constant() if schedule is None else schedule.build()
