"""Synthetic reports of every kind, shaped like the ones that real runs leave."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from compare.diagnose.divergence import Divergence
from compare.report.report import NodeInfo, Report
from manual.linear import Linear

HOSTILE = "<script>alert(1)</script>"
COLUMNS = [
    *("step", "layer", "quantity", "shape", "max_abs_diff", "max_rel_diff", "budget_used"),
    *("worst_index", "manual", "torch", "verdict", "norm"),
]
VERDICTS = ["agree", "disagree", "missing", "non-finite", "vacuous"]
DERIVED = "error gauge with K = 256, element by element, every step"


class Node(NamedTuple):
    name: str
    type: str
    arguments: str
    width: int
    params: dict[str, tuple[int, ...]]


def linear(name: str, fan_in: int, fan_out: int) -> Node:
    params = {"weight": (fan_out, fan_in), "bias": (fan_out,)}
    return Node(name, "Linear", f"in_features={fan_in}, out_features={fan_out}", fan_out, params)


DIGITS = (
    linear("0", 64, 128),
    Node("1", "ReLU", "", 128, {}),
    Node("2", "Dropout", "p=0.1", 128, {}),
    linear("3", 128, 64),
    Node("4", "Tanh", "", 64, {}),
    linear("5", 64, 32),
    Node("6", "SiLU", "", 32, {}),
    linear("7", 32, 10),
)
TINY = (linear("0", 2, 4), Node("1", "Sigmoid", "", 4, {}), linear("2", 4, 1))


def quantities(nodes: tuple[Node, ...], batch: int) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """Yield (layer, quantity, shape) of one step in execution order."""
    for node in nodes:
        yield node.name, "output", (batch, node.width)
    yield "loss", "loss", ()
    for node in reversed(nodes):
        yield node.name, "grad_output", (batch, node.width)
        for key, shape in node.params.items():
            yield node.name, f"grad:{key}", shape
    for node in nodes:
        for key, shape in node.params.items():
            yield node.name, f"param:{key}", shape
            yield node.name, f"state:{key}:momentum_buffer", shape


def make_differences(nodes: tuple[Node, ...], steps: int, batch: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = list(quantities(nodes, batch))
    n = steps * len(rows)
    table = pd.DataFrame(rows * steps, columns=["layer", "quantity", "shape"])
    table["step"] = np.repeat(np.arange(steps), len(rows))
    depth = np.tile(np.linspace(1, 0.05, len(rows)), steps)
    value = rng.normal(size=n) * depth
    table["budget_used"] = np.clip(10 ** rng.normal(-2.2, 0.35, n), 0, 0.22)
    table.loc[rng.random(n) < 0.02, "budget_used"] = 0.0
    table["max_abs_diff"] = table["budget_used"] * 256 * 2.0**-53 * np.abs(value) * 3
    table["max_rel_diff"] = table["max_abs_diff"] / (np.abs(value) + 0.1)
    table["torch"], table["manual"] = value, value + table["max_abs_diff"]
    table["worst_index"] = [
        str(tuple(int(rng.integers(size)) for size in shape)) for shape in table["shape"]
    ]
    table["shape"] = ["×".join(map(str, s)) or "scalar" for s in table["shape"]]
    table["norm"] = np.abs(value) * 4 * np.exp(-table["step"] / 80) + 0.02
    table["verdict"] = "agree"
    return table[COLUMNS]


def make_ledger(differences: pd.DataFrame) -> pd.DataFrame:
    sizes = [math.prod(map(int, re.findall(r"\d+", shape))) for shape in differences["shape"]]
    kinds = differences["quantity"].str.partition(":")[0]
    there = differences["verdict"] != "missing"
    table = pd.DataFrame({"quantity": kinds, "expected_elements": sizes})
    table["tensors"], table["elements"] = there.astype(int), table["expected_elements"] * there
    for verdict in VERDICTS:
        table[verdict.replace("-", "_")] = (differences["verdict"] == verdict).astype(int)
    return table.groupby("quantity", sort=False).sum().reset_index()


def make_losses(steps: int) -> pd.DataFrame:
    step = np.arange(steps)
    loss = 2.3 * np.exp(-step / 40) + 0.12 + 0.05 * np.sin(step * 1.7)
    return pd.DataFrame({"step": step, "manual": loss, "torch": loss + 1e-16})


def make_drift(steps: int) -> pd.DataFrame:
    step, losses = np.arange(steps), make_losses(steps)
    drift = 1e-17 * np.exp(step / 9)
    return pd.DataFrame(
        {
            "step": step,
            "loss_manual": losses["manual"] + drift,
            "loss_torch": losses["torch"],
            "max_param_diff": drift * 8,
        }
    )


def make_ulps() -> pd.DataFrame:
    log2 = np.arange(-1, 22)
    elements = np.r_[4_100_000, (2_400_000 * 0.52 ** np.arange(22)).astype(int)]
    return pd.DataFrame({"log2_ulps": log2, "elements": elements})


def agreeing(
    nodes: tuple[Node, ...] = DIGITS, steps: int = 140, batch: int = 32, name: str = "digits"
) -> Report:
    differences = make_differences(nodes, steps, batch, seed=7)
    ledger = make_ledger(differences)
    rng = np.random.default_rng(3)
    flips = {"step": [12, 12, 97], "layer": [nodes[1].name] * 3, "flips": [1, 2, 1]}
    config: dict[str, Any] = {
        "data": {"dataset": "digits", "scale": "standard"},
        "layers": [{"type": node.type, "name": node.name} for node in nodes],
        "loss": {"type": "CrossEntropyLoss", "reduction": "mean"},
        "optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9},
        "train": {"epochs": 5, "batch_size": batch, "seed": 0, "dtype": "float64"},
    }
    return Report(
        name=name,
        verdict="agree",
        reason=f"All {len(differences):,} tensors of {steps:,} steps agree.",
        mode="lockstep",
        steps=steps,
        planned_steps=steps,
        differences=differences,
        ledger=ledger,
        losses=make_losses(steps),
        drift=make_drift(0),
        kinks=pd.DataFrame(flips),
        ulps=make_ulps(),
        first_divergence=None,
        tolerance=DERIVED,
        overridden=False,
        planted=None,
        config=config,
        environment={
            "handgrad": "0.1.0",
            "python": "3.11.9",
            "numpy": "2.4.6",
            "torch": "2.13.0+cpu",
            "BLAS (NumPy)": "OpenBLAS 0.3.30 Haswell",
            "BLAS (torch)": "MKL 2024.2",
            "CPU": "Intel Xeon Platinum 8481C",
            "device": "cpu",
            "threads": "NumPy 1, torch 1",
            "dtype": "float64",
            "seed": "0",
        },
        nodes=tuple(
            NodeInfo(
                name=node.name,
                type=node.type,
                inputs=(nodes[i - 1].name if i else "input",),
                manual=f"manual.{node.type}({node.arguments})",
                torch=f"torch.nn.{node.type}({node.arguments})",
                derivation=inspect.getdoc(Linear.backward) or ""
                if node.params
                else "dx = f′(x) dy",
            )
            for i, node in enumerate(nodes)
        ),
        initial_weights={
            f"{node.name}.{key}": rng.normal(size=shape)
            for node in nodes
            for key, shape in node.params.items()
        },
    )


def disagreeing(layer: str = "3", first_step: int = 0, steps: int = 140) -> Report:
    """A planted factor 1.01 on one weight gradient, which the update and the state inherit."""
    report = agreeing(steps=steps)
    table = report.differences.copy()
    hit = (table["layer"] == layer) & (table["step"] >= first_step)
    hit &= table["quantity"].isin(["grad:weight", "param:weight", "state:weight:momentum_buffer"])
    table.loc[hit, "budget_used"] = 4.2e9 * table.loc[hit, "norm"]
    table.loc[hit, "manual"] = table.loc[hit, "torch"] * 1.01
    table.loc[hit, "max_abs_diff"] = (table["manual"] - table["torch"]).abs()
    table.loc[hit, "max_rel_diff"] = 0.01
    table.loc[hit, "verdict"] = "disagree"
    first = table[hit].iloc[0]
    divergence = Divergence(
        step=int(first["step"]),
        layer=layer,
        quantity="grad:weight",
        max_abs_diff=float(first["max_abs_diff"]),
        own_or_inherited="own",
        layer_type="Linear",
        worst_index=first["worst_index"],
        manual=float(first["manual"]),
        torch=float(first["torch"]),
        row=(int(first["step"]), layer, "grad:weight"),
        last_agreed=(int(first["step"]), layer, "grad_output"),
        explanation="manual is torch × 1.01 in every element, to 15 digits.",
        manual_source=inspect.getsource(Linear.grad_params),
        derivation=inspect.getdoc(Linear.backward) or "",
        torch_source="torch.nn.Linear(in_features=128, out_features=64)\n"
        "# grad_fn: AddmmBackward0\n# dW = dyᵀ x, computed by autograd",
    )
    return replace(
        report,
        verdict="disagree",
        reason=f"{int(hit.sum())} of {len(table):,} tensors differ by more than rounding explains; "
        f"the first is grad:weight of layer {layer} at step {first_step}.",
        differences=table,
        ledger=make_ledger(table),
        first_divergence=divergence,
        planted=f"{layer}.weight.grad*=1.01",
    )


def free() -> Report:
    """A run that is never re-synchronised: nothing is judged."""
    table = agreeing().differences.assign(verdict="not judged", budget_used=np.nan)
    return replace(
        agreeing(),
        verdict="incomplete",
        reason="A free run shows drift; it is a diagnostic and never a verdict.",
        mode="free",
        differences=table,
        ledger=make_ledger(table),
        drift=make_drift(140),
        tolerance="none: a free run is not judged",
    )


def incomplete() -> Report:
    return replace(
        agreeing(steps=57),
        verdict="incomplete",
        reason="Stopped after 57 of 140 steps; all agree so far.",
        planned_steps=140,
        interrupted=True,
        name="digits-interrupted",
    )


def overridden() -> Report:
    tolerance = "rtol = 0.001, atol = 1e-05, chosen by the user"
    return replace(agreeing(steps=20), tolerance=tolerance, overridden=True)


def tiny() -> Report:
    """One step of a small network: most plots have little to draw."""
    return replace(agreeing(TINY, steps=1, batch=1, name="student"), kinks=pd.DataFrame())


def empty() -> Report:
    """A run that compared nothing, which is never a pass."""
    report = tiny()
    return replace(
        report,
        verdict="incomplete",
        reason="Nothing was compared.",
        steps=0,
        differences=report.differences.iloc[:0],
        ledger=report.ledger.iloc[:0],
        losses=report.losses.iloc[:0],
        ulps=report.ulps.iloc[:0],
        initial_weights={},
    )


def troubled() -> Report:
    """Missing, non-finite and vacuous rows; NaN and infinite values."""
    report = disagreeing(steps=6)
    table = report.differences.copy()
    table.loc[5:6, ["budget_used", "manual"]] = np.nan
    table.loc[7, "max_abs_diff"], table.loc[7, "manual"] = np.inf, -np.inf
    for row, verdict in ((5, "non-finite"), (6, "missing"), (7, "non-finite"), (9, "vacuous")):
        table.loc[row, "verdict"] = verdict
    assert report.first_divergence is not None
    first = replace(
        report.first_divergence,
        manual=float("nan"),
        max_abs_diff=float("inf"),
        own_or_inherited="inherited",
        last_agreed=None,
        torch_source="",
    )
    return replace(
        report,
        differences=table,
        ledger=make_ledger(table),
        first_divergence=first,
        planted=None,
        reason="Layer 5 gives NaN on the manual side.",
    )


def hostile(text: str = HOSTILE) -> Report:
    """The same disagreement with a hostile string in every place that a user can fill."""
    report = disagreeing(steps=6)
    table = report.differences.copy()
    table.loc[table["layer"] == "3", "layer"] = text
    table.loc[table["quantity"] == "grad:bias", "quantity"] = f"grad:{text}"
    assert report.first_divergence is not None
    first = replace(
        report.first_divergence,
        layer=text,
        row=(0, text, "grad:weight"),
        last_agreed=(0, text, "grad_output"),
        layer_type=text,
        worst_index=text,
        explanation=text,
        manual_source=text,
        derivation=text,
        torch_source=text,
    )
    return replace(
        report,
        name=text,
        reason=f"{text} disagrees.",
        differences=table,
        ledger=make_ledger(table),
        kinks=pd.DataFrame({"step": [1], "layer": [text], "flips": [1]}),
        first_divergence=first,
        tolerance=text,
        overridden=True,
        planted=text,
        config={"data": {"file": text, "target": text}, text: None},
        environment={text: text},
        nodes=tuple(NodeInfo(text, text, (text,), text, text, text) for _ in range(2)),
        initial_weights={text: np.ones((2, 2))},
    )


KINDS: dict[str, Callable[[], Report]] = {
    "agreeing": agreeing,
    "disagreeing": disagreeing,
    "free": free,
    "incomplete": incomplete,
    "overridden": overridden,
    "tiny": tiny,
    "empty": empty,
    "troubled": troubled,
    "hostile": hostile,
}
