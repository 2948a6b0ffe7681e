"""The adding problem at growing lengths: what is left of a gradient that goes back through time.

    python examples/through_time.py [FIGURE.svg]

Every number comes from the hand-written networks of the presets `adding-rnn` and `adding-lstm`.
Left: the norm of ∂L/∂x_t before training, over the steps t of a row, whose loss is taken at its
end. Middle: the norm of all gradients while a network trains whose recurrent weights were made
larger, and what clipping leaves of it. Right: the error on rows held out, by length; always to
answer 1 has an error of 1/6.
"""

from __future__ import annotations

import sys
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from compare.description.config import load
from compare.running.experiment import Experiment, prepare
from manual.clipping import clip_grad_norm

mpl.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "time", "font.family": "sans-serif"}

LENGTHS, STEPS, LONG, LARGE = (10, 20, 40, 80), 400, 60, 5.0
COLOURS = {"rnn": "#c2410c", "lstm": "#0b5cab"}


def experiment(cell: str, length: int, **settings: Any) -> Experiment:
    """Return a preset at another length."""
    return prepare(load(f"adding-{cell}", {"data.length": length, **settings}))


def changed(run: Experiment, how: str) -> dict[str, np.ndarray]:
    """Return the initial weights; `exploding`: U times LARGE; `open`: forget gates' biases + 2."""
    weights = dict(run.weights)
    if how == "exploding":
        weights["rnn.weight_hh_l0"] = LARGE * weights["rnn.weight_hh_l0"]
    if how == "open":
        bias = weights["lstm.bias_ih_l0"].copy()
        size = len(bias) // 4
        bias[size : 2 * size] += 2  # i, f, g, o
        weights["lstm.bias_ih_l0"] = bias
    return weights


def through_time(run: Experiment, weights: dict[str, np.ndarray]) -> np.ndarray:
    """Return ‖∂L/∂x_t‖ of one batch for every step t."""
    x, target = run.rows(next(run.batches()))
    grad = run.manual.forward_backward(weights, x, target, input_grad=True).gradients.values[
        "input"
    ]
    return np.sqrt((grad**2).sum(axis=(0, 2)))


def trained(run: Experiment, weights: dict[str, np.ndarray]) -> tuple[list[float], list[float]]:
    """Train; return the gradients' norms before clipping, and errors on rows held out."""
    params: Any = weights
    states: Any = {}
    norms, errors = [], []
    for number, batch in enumerate(run.batches()):
        grads = run.manual.forward_backward(params, *run.rows(batch)).gradients.params
        norms.append(float(clip_grad_norm(grads, 1.0)[1]))
        params, states = run.manual.update(params, grads, states, run.lr(number))
        if number % 20 == 19:
            errors.append(float(run.manual.forward(params, *run.held_out).loss))
    return norms, errors


def draw_through_time(axes: Any) -> None:
    """Left: before training, at one length."""
    for cell, how, style, label in (
        ("rnn", "", "-", "RNN"),
        ("rnn", "exploding", "--", f"RNN, U × {LARGE:g}"),
        ("lstm", "", "-", "LSTM"),
        ("lstm", "open", "--", "LSTM, forget gates open"),
    ):
        run = experiment(cell, LONG)
        norms = through_time(run, changed(run, how))
        axes.plot(np.arange(LONG), norms, style, color=COLOURS[cell], label=label)
        print(f"{label}: step 0 has {norms[0] / norms[-1]:.1e} of the last step's gradient")
    axes.set(yscale="log", xlabel="step t of the row", title="‖∂L/∂x_t‖ before training")


def draw_clipping(axes: Any) -> None:
    """Middle: the gradients' norm of a network that explodes, with clipping."""
    run = experiment("rnn", LONG, **{"train.steps": 100})
    norms, _ = trained(run, changed(run, "exploding"))
    axes.plot(norms, color=COLOURS["rnn"], label=f"RNN, U × {LARGE:g}: before clipping")
    axes.plot(np.minimum(norms, 1.0), color="0.45", label="after clipping to norm 1")
    print(f"the largest norm in 100 steps: {max(norms):.0f}")
    axes.set(yscale="log", xlabel="training step", title="Norm of all gradients")


def draw_errors(axes: Any) -> None:
    """Right: what is learned at which length."""
    for cell in COLOURS:
        for length, shade in zip(LENGTHS, np.linspace(0.35, 1, len(LENGTHS)), strict=True):
            run = experiment(cell, length, **{"train.steps": STEPS})
            errors = trained(run, changed(run, "open" if cell == "lstm" else ""))[1]
            axes.plot(
                20 * np.arange(1, len(errors) + 1), errors, color=COLOURS[cell], alpha=shade,
                label=f"{cell.upper()}, {length} steps",
            )  # fmt: skip
            print(f"{cell.upper()}, rows of {length}: error {errors[-1]:.4f}")
    axes.axhline(1 / 6, color="0.45", linestyle=":")
    axes.set(yscale="log", xlabel="training step", title="Error on rows held out")


def main(path: str) -> None:
    """Draw all three."""
    figure = Figure(figsize=(13, 4), layout="constrained")
    panels: Any = figure.subplots(1, 3)
    for axes, draw in zip(panels, (draw_through_time, draw_clipping, draw_errors), strict=True):
        draw(axes)
        axes.legend(fontsize=7, frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, facecolor="white", metadata={"Date": None})


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "through_time.svg")
