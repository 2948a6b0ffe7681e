"""A small network of which some nodes are torch's, either way round."""

from __future__ import annotations

from itertools import chain, combinations
from typing import Any

import numpy as np

from compare.description.config import Config, load
from compare.judge.judge import judge
from compare.running.experiment import Experiment
from compare.running.lockstep import Lockstep, Step
from torch_ref import as_torch

NODES = ("0", "1", "2", "3", "4")
SPLITS = list(chain.from_iterable(combinations(NODES, n) for n in range(len(NODES) + 1)))
LAYERS = [  # 0 feeds two nodes: its gradients add
    {"type": "Linear", "in_features": 4, "out_features": 5},
    {"type": "Tanh"},
    {"type": "Linear", "in_features": 5, "out_features": 5},
    {"type": "Add", "inputs": ["0", "2"]},
    {"type": "Linear", "in_features": 5, "out_features": 3},
]


def network(torch_layers: Any = (), layers: Any = LAYERS, **train: Any) -> Config:
    tables = load("iris").as_dict()
    tables["layers"] = [dict(layer) for layer in layers]
    tables["optimizer"] = {"type": "SGD", "lr": 0.1, "momentum": 0.9}
    tables["train"] = {"steps": 2, "batch_size": 8, **train}
    tables["compare"] = {"drift": False, "torch_layers": list(torch_layers)}
    return Config.model_validate(tables)


def one_step(experiment: Experiment) -> Step:
    """Run a step; copy what torch's next step would overwrite."""
    batch = next(iter(experiment.batches()))
    step = Lockstep(experiment).step(0, batch)
    return step._replace(torch={k: np.array(v) for k, v in step.torch.items()})


def disagreements(a: Any, b: Any, step: Step) -> list:
    """Judge two sides' values by the gauge of a step of the pure hand-written network."""
    rows = judge(step.rows.keys, a, b, step.tolerances)
    return [rows.keys[i] for i in rows.bad]


def with_hand_written(experiment: Experiment, layers: dict[str, Any]) -> Experiment:
    """Put hand-written layers into torch's network, in the place of its own modules."""
    side = experiment.torch
    for name, layer in layers.items():
        module = as_torch(layer).to(side.dtype)
        side.network.modules_by_node[name] = module
        side.network.model.add_module(name, module)
    side.parameters = dict(side.network.model.named_parameters())
    return experiment


def hand_written(experiment: Experiment) -> dict[str, Any]:
    return {node.name: node.layer for node in experiment.manual.graph.nodes}
