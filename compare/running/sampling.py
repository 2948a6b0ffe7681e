"""What the hand-written network writes by itself, once it was trained on a text."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from compare.running.experiment import Experiment
from manual.graph import Array, Arrays, Graph

LENGTH = 160  # characters
TEMPERATURE = 0.6  # scores are divided by it: below 1, likely characters become likelier
WRITING = 2  # the stream of the run's seed


class Sample(NamedTuple):
    """The characters that it was given to begin with, and those it went on with."""

    given: str
    written: str


def sample(experiment: Experiment, params: Arrays, buffers: Arrays) -> Sample | None:
    """Draw one character after another, each from what the network makes of those before it.

    It begins with the text's own beginning. None where the data are no text, or where the network
    raises or leaves numbers that are no scores.
    """
    alphabet, graph = experiment.data.alphabet, experiment.manual.graph.train(False)
    if not alphabet:
        return None
    graph = graph.with_params(params).with_buffers(buffers)
    rng = np.random.default_rng([experiment.config.train.seed, WRITING])
    codes = experiment.data.features[0].tolist()
    start = len(codes)
    try:
        for _ in range(LENGTH):
            codes.append(_next(graph, np.array([codes[-start:]]), len(alphabet), rng))
    except Exception:  # a mistake may raise whatever it likes: no sample
        return None
    text = "".join(alphabet[code] for code in codes)
    return Sample(text[:start], text[start:])


def _next(graph: Graph, context: Array, count: int, rng: np.random.Generator) -> int:
    """Draw a character's number by the scores after a context (1, T): (1, C), or (1, C, T)."""
    scores = graph.run(context).output
    z = np.asarray(scores.reshape(*scores.shape[:2], -1)[0, :count, -1], np.float64) / TEMPERATURE
    weights = np.exp(z - z.max())
    return int(rng.choice(count, p=weights / weights.sum()))
