"""What a trained network does over time: values of its unrolled layers that are worth a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from compare.description.data.dataset import each
from manual.graph import Graph
from manual.nodes import path_of

__all__ = ["pictures"]


def pictures(
    graph: Graph, params: Mapping[str, Any], buffers: Mapping[str, Any], features: Any
) -> dict[str, np.ndarray]:
    """Return the outputs (T, N) of each layer that says `pictured` and is called T > 1 times.

    The first row of the features is put through the network, in evaluation.
    """
    calls: dict[str, list[str]] = {}
    for node in graph.nodes:
        if node.layer.pictured:
            calls.setdefault(path_of(node.name), []).append(node.name)
    if not (calls := {path: names for path, names in calls.items() if len(names) > 1}):
        return {}
    trained = graph.with_params(params).with_buffers(buffers).train(False)  # type: ignore[arg-type]
    try:
        values = trained.run(each(lambda array: array[:1], features)).values
    except Exception:  # a mistake may raise whatever it likes: no picture
        return {}
    return {path: np.stack([values[name][0] for name in names]) for path, names in calls.items()}
