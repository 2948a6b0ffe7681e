"""A failing check becomes the smallest case that still fails, and a script that replays it."""

from __future__ import annotations

import functools
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import compare
from compare.diagnose.cases.bundle import Bundle, CannotBundleError, lambda_source
from compare.diagnose.cases.shrink import simpler
from tests.compare.pair.gradient_pairs import AFFINE, LABELS, affine, affine_forward


def mean_backward(dout, cache):
    x, w = cache
    return dout @ w.T, x.T @ dout, dout.mean(axis=0)


RUNNER = """
import contextlib, io, json, runpy, sys, traceback
found = {}
for script in sys.argv[1:]:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            runpy.run_path(script)
            status = 0
        except SystemExit as stopped:
            status = stopped.code
        except Exception as error:
            status = 1
            print(repr(error))
    found[script] = [status, out.getvalue()]
print(json.dumps(found))
"""


def replayed(reports: dict[str, compare.Report], directory: Path) -> dict[str, tuple[int, str]]:
    """Write reports' scripts and run them where nothing of this project can be imported."""
    scripts = {}
    for name, report in reports.items():
        folder = directory / name.replace(" ", "-")
        folder.mkdir()
        for file, held in report.attachments.items():
            (folder / file).write_bytes(held)
        scripts[name] = str(folder / "replay.py")
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", RUNNER, *scripts.values()],
        cwd=directory, env=clean, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout)
    return {name: tuple(found[script]) for name, script in scripts.items()}


def arrays(report: compare.Report) -> dict[str, np.ndarray]:
    return dict(np.load(io.BytesIO(report.attachments["replay.npz"])))


def test_sizes_shrink_to_what_matters() -> None:
    report = compare.check(affine_forward, mean_backward, affine, {**AFFINE, "x": (6, 3)})
    small = arrays(report)

    assert small["x"].shape == (2, 1)  # a mean over one row would be right
    assert small["w"].shape == (1, 1)
    assert small["manual"].shape == small["expected"].shape == (1,)


def test_numbers_become_whole_and_zero_where_they_do_not_matter() -> None:
    small = arrays(compare.check(affine_forward, mean_backward, affine, AFFINE))

    assert not small["x"].any()
    np.testing.assert_array_equal(small["dy0"], np.round(small["dy0"] * 2) / 2)


def test_large_magnitudes_shrink_when_they_are_not_the_reason() -> None:
    inputs = {"x": np.full((4, 3), 3e4), "w": np.full((3, 5), 2e4), "b": np.ones(5)}
    small = arrays(compare.check(affine_forward, mean_backward, affine, inputs))

    assert np.abs(small["x"]).max() <= 3


def overflowing(x):
    return np.log(1 + np.exp(x)), x


def overflowing_backward(dout, x):
    return dout / (1 + np.exp(-x))


def test_magnitudes_stay_when_they_are_the_reason() -> None:
    small = arrays(
        compare.check(
            overflowing, overflowing_backward, torch.nn.functional.softplus, {"x": (4, 3)}
        )
    )

    assert small["x"].shape == (1, 1)
    assert small["x"].max() > 700
    assert np.isinf(small["manual"]).all()


def strides_backward(dout, cache):
    x, w = cache
    if x.size > 1 and not x.flags.c_contiguous:
        x = x * 2
    return dout @ w.T, x.T @ dout, dout.sum(axis=0)


def wrong_loss(x, y):
    rows = np.arange(len(y))
    p = np.exp(x - x.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    dx = p.copy()
    dx[rows, y] -= 1
    return -np.log(p[rows, y]).mean(), dx


def two_outputs(x, h):
    return np.tanh(x + h), x * h, (x, h)


def two_backward(da, dm, cache):
    x, h = cache
    dz = da * (1 - np.tanh(x + h) ** 2)
    return dz + dm * h, dz


def two_reference(x, h):
    return torch.tanh(x + h), x * h


class Layer:
    def __init__(self) -> None:
        self.w, self.scale, self.name = np.ones((3, 5)), 2.0, "dense"

    def forward(self, x):
        self.x = x
        return self.scale * (x @ self.w)

    def backward(self, dout):
        self.dw = self.x.T @ dout
        return self.scale * (dout @ self.w.T)


class Cubed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, dout):
        (x,) = ctx.saved_tensors
        return 2 * x**2 * dout


def crashing_backward(dout, cache):
    if len(dout) == 1:
        raise IndexError("no second row")
    x, w = cache
    return dout @ w.T, x.T @ dout, dout.sum(axis=0)


MADE = {
    "loss": lambda: compare.check(
        wrong_loss, None, torch.nn.functional.cross_entropy, {"x": (4, 3), "y": LABELS}
    ),
    "two outputs": lambda: compare.check(
        two_outputs, two_backward, two_reference, {"x": (4, 3), "h": (4, 3)}
    ),
    "object": lambda: compare.check(
        Layer(), None, lambda x, w: 2 * (x @ w), {"x": (4, 3), "w": (3, 5)}
    ),
    "torch": lambda: compare.check_torch(Cubed.apply, lambda x: x**3, {"x": (4, 3)}),
    "torch float32": lambda: compare.check_torch(
        Cubed, lambda x: x**3, {"x": (4, 3)}, dtype="float32"
    ),
    "float32": lambda: compare.check(
        affine_forward, mean_backward, affine, AFFINE, dtype="float32"
    ),
    "no reference": lambda: compare.check(affine_forward, mean_backward, None, AFFINE),
    "module": lambda: compare.check(
        clipped, leaking_backward, torch.nn.Hardtanh(-0.5, 2.0), {"x": (4, 3)}
    ),
    "crash": lambda: compare.check(affine_forward, crashing_backward, affine, AFFINE),
    "strides": lambda: compare.check(affine_forward, strides_backward, affine, AFFINE),
    "no source": lambda: compare.check(
        functools.partial(affine_forward), functools.partial(mean_backward), affine, AFFINE
    ),
    "wrong forward": lambda: compare.check(
        lambda x, w, b: (x @ w - b, (x, w)), crashing_backward, affine, {**AFFINE, "x": (2, 3)}
    ),
}


def clipped(x):
    return np.clip(x, -0.5, 2.0), x


def leaking_backward(dout, x):
    return np.where((x > -0.5) & (x < 2), dout, 0.25 * dout)


def mended() -> compare.Report:
    """A report whose script has the mistake taken out by hand."""
    report = compare.check(affine_forward, mean_backward, affine, AFFINE)
    script = report.attachments["replay.py"].decode().replace("dout.mean", "dout.sum")
    report.attachments["replay.py"] = script.encode()
    return report


def test_every_form_is_replayed_without_this_project(tmp_path: Path) -> None:
    reports = {form: make() for form, make in MADE.items()}
    found = replayed({**reports, "mended": mended()}, tmp_path)

    assert found.pop("mended")[0] == 0
    for form, (status, out) in found.items():
        script = reports[form].attachments["replay.py"].decode()
        candidate = script.partition("# what it must be")[0]
        assert reports[form].verdict == "disagree"
        assert status == 1, (form, out)
        assert ("IndexError" if form == "crash" else "is wrong.") in out, (form, out)
        assert ("cannot be written down" in candidate) == (form == "no source")
        assert len(script.splitlines()) < 90
        assert "compare" not in script
    assert "not contiguous" in reports["strides"].attachments["replay.py"].decode()


def data(x, y):
    return x * y, (x, y)


def times(a, b):
    return a * b


def product(x, y):
    return times(x, y), (x, y)


def doubled(dout, cache):
    x, y = cache
    return dout * y, 2 * dout * x


NAMES = {
    "functions": ("product", "times"), "keywords": ("lambda", "class"),
    "files": ("file", "tolerance"),
    "alike": ("a b", "a_b"), "quotes": ('q"x', "e\'\\"), "modules": ("np", "torch"),
    "results": ("dy0", "expected"), "formulas": ("=HYPERLINK(", '"""'), "plain": ("x", "w"),
}  # fmt: skip


def test_names_of_inputs_and_functions_never_break_a_replay(tmp_path: Path) -> None:
    reports = {
        f"{forward.__name__} {kind}": compare.check(
            forward, doubled, lambda x, y: x * y, {x: (4, 3), y: (4, 3)}, cases=["random"]
        )
        for forward in (data, product)
        for kind, (x, y) in NAMES.items()
    }
    for name, (status, out) in replayed(reports, tmp_path).items():
        wrong = NAMES[name.split()[1]][1]

        assert (status, out.splitlines()[-1]) == (1, f"grad:{wrong} is wrong."), (name, out)


def test_nothing_is_left_when_shrinking_is_not_asked_for(tmp_path: Path) -> None:
    report = compare.check(affine_forward, mean_backward, affine, AFFINE, shrink=False)

    assert report.attachments == {}
    assert not (report.save(tmp_path / "r") / "replay.py").exists()


# ── the parts ────────────────────────────────────────────────────────────────────────────────────
def test_a_lambda_is_found_in_its_statement() -> None:
    made = {"first": lambda x: x + 1, "second": lambda x: x + 2}

    assert lambda_source(made["second"]) == "lambda x: x + 2"


FACTOR = 3.0
TABLE = np.arange(3.0)


def helper(x):
    return FACTOR * x


def uses_globals(x):
    return sum(helper(v) for v in x) + TABLE.sum()


def test_globals_helpers_and_arrays_come_along() -> None:
    bundle = Bundle()
    name = bundle.function(uses_globals, "f")
    space: dict = {"saved": bundle.arrays}
    exec("\n".join(bundle.imports) + "\n" + bundle.text(), space)

    assert space[name]([1.0, 2.0]) == uses_globals([1.0, 2.0])


def test_what_has_no_source_is_refused() -> None:
    with pytest.raises(CannotBundleError):
        Bundle().function(np.add, "add")
    with pytest.raises(CannotBundleError):
        Bundle().expression("x", object())


def test_simpler_arrays_keep_their_shape_and_begin_with_the_plainest() -> None:
    found = list(simpler(np.array([[1.234, -2.7]])))

    np.testing.assert_array_equal(found[0], [[1.0, -3.0]])
    assert all(a.shape == (1, 2) for a in found)
    assert np.abs(next(iter(simpler(np.array([4e5, 1e5]))))).max() == 3
