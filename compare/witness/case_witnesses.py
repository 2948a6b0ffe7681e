"""Ask the witnesses that need no torch whether backward fits forward."""

from __future__ import annotations

from typing import Any

import numpy as np

from compare.pair.candidates import Candidate
from compare.pair.inputs import Inputs, fresh
from compare.pair.torch_candidate import TorchCandidate
from compare.witness.complex_step import complex_step
from compare.witness.directional import directional
from compare.witness.testimony import Testimony


def testimonies(candidate: Candidate, values: Inputs, seed: int) -> list[Testimony]:
    """Return what directional derivatives and the complex step say of a candidate, in float64.

    A witness that cannot be heard (code that fails on its numbers) says nothing.
    """
    floats = candidate.differentiable

    def forward(*arrays: Any) -> tuple[Any, Any]:
        inputs = {**fresh(values), **dict(zip(floats, arrays, strict=True))}
        started = candidate.start(inputs)
        ys = started.outputs
        return (ys[0] if len(ys) == 1 else ys), started

    def backward(dout: Any, started: Any) -> dict[str, Any]:
        one = not candidate.takes_upstream
        dys = [np.ones(())] if one else dout if isinstance(dout, tuple) else [dout]
        grads = {n: g for n, g in candidate.finish(dys, started).items() if g is not None}
        return {n: g * dout for n, g in grads.items()} if one else grads

    inputs = {name: values[name] for name in floats}
    asked = (directional,) if isinstance(candidate, TorchCandidate) else (directional, complex_step)
    heard: list[Testimony] = []
    for ask in asked:
        try:
            heard.append(ask(forward, backward, inputs, seed=seed))
        except Exception:  # a stranger's code may fail in any way on a witness's numbers
            continue
    return heard


def told(heard: list[Testimony]) -> list[str]:
    """Return the evidence of every witness that could decide, as notes."""
    return [
        f"Witness {'for' if t.agrees else 'against'} backward, without torch: {t.evidence}."
        for t in heard
        if t.conclusive
    ]
