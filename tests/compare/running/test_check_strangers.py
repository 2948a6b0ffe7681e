"""Code of unusual habits: right derivations agree, wrong ones in the same clothes do not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

import compare

X = {"x": (4, 3)}


def check(*args, **options):
    return compare.check(*args, shrink=False, **options)


# ── nothing ends in a traceback ──────────────────────────────────────────────────────────────────
def test_a_gradient_without_elements_is_named() -> None:
    report = check(lambda x: (2 * x, None), lambda dout, _: (2 * dout)[:, 0:-0], lambda x: 2 * x, X)

    assert report.verdict == "disagree"
    assert "(4, 0)" in report.first_divergence.explanation
    assert report.cause is not None
    assert report.cause.kind == "empty slice"


def test_an_empty_output_in_a_made_up_case_is_no_obstacle() -> None:
    def forward(a):
        return np.diff(a, axis=0), a

    def backward(dout, a, sign=1.0):
        g = np.zeros_like(a)
        g[1:] += dout
        g[:-1] -= sign * dout
        return g

    def run(backward):
        return check(forward, backward, lambda a: torch.diff(a, dim=0), {"a": (5, 3)}).verdict

    assert run(backward) == "agree"
    assert run(lambda dout, a: backward(dout, a, -1.0)) == "disagree"


@pytest.mark.parametrize(("factor", "expected"), [(1.0, "agree"), (1.001, "disagree")])
def test_a_cache_that_backward_uses_up_is_a_note(factor, expected) -> None:
    report = check(
        lambda x: (np.tanh(x), [x]),
        lambda dout, cache: factor * dout * (1 - np.tanh(cache.pop()) ** 2),
        torch.tanh, X,
    )  # fmt: skip

    assert report.verdict == expected
    assert any("can be called only once" in note for note in report.notes)


def test_a_reference_whose_backward_raises_in_one_case_skips_it() -> None:
    class Choosy(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return 2 * x

        @staticmethod
        def backward(ctx, g):
            if g.shape[0] == 1:
                raise RuntimeError("a batch of 1 is not supported")
            return 2 * g

    def run(factor):
        return check(lambda x: (2 * x, x), lambda dout, x: factor * dout, Choosy.apply, X)

    assert run(2).agrees
    assert any("a batch of 1 is not supported" in note for note in run(2).notes)
    assert run(2.1).verdict == "disagree"


STATE = {"w": 0.0}


def test_gradients_accumulated_in_a_module_are_a_disagreement_and_no_gauge_stays_behind() -> None:
    def backward(dout, cache):
        x, w = cache
        STATE["w"] = STATE["w"] + x.T @ dout
        return dout @ w.T, STATE["w"]

    STATE["w"] = 0.0
    report = check(lambda x, w: (x @ w, (x, w)), backward, torch.matmul, {"x": (4, 3), "w": (3, 5)})

    assert report.verdict == "disagree"
    assert type(STATE["w"]) is np.ndarray


# ── promises ─────────────────────────────────────────────────────────────────────────────────────
class Node:
    def __init__(self, x):
        self.x, self.grad = x, None

    def __call__(self, z):
        return np.tanh(z)


def test_an_object_in_the_cache_may_be_called_and_written_to() -> None:
    def backward(dout, node):
        node.grad = dout * (1 - node(node.x) ** 2)
        return node.grad

    def forward(x):
        return np.tanh(x), Node(x)

    report = check(forward, backward, torch.tanh, X)

    assert report.agrees
    assert any("writes into the cache" in note for note in report.notes)
    assert check(forward, backward, torch.tanh, X, purity="fail").verdict == "disagree"


def test_a_cache_whose_change_changes_the_result_is_a_disagreement() -> None:
    def backward(dout, cache):
        cache[0] *= 2
        return dout * cache[0] / 2

    report = check(lambda x: (x * x / 2, [x.copy()]), backward, lambda x: x * x / 2, X)

    assert report.verdict == "disagree"
    assert "Every gradient is right" in report.reason


def test_a_change_of_dout_is_said_in_those_words() -> None:
    def backward(dout, x):
        dout *= 2
        return dout

    report = check(lambda x: (2 * x, x), backward, lambda x: 2 * x, X)

    assert report.verdict == "disagree"
    assert report.reason.startswith("Every gradient is right, but")
    assert "changes upstream gradient in place" in report.reason


# ── how backward is called ───────────────────────────────────────────────────────────────────────
def test_an_upstream_gradient_may_have_a_default() -> None:
    class Tanh:
        factor = 1.0

        def forward(self, x):
            self.y = np.tanh(x)
            return self.y

        def backward(self, grad=None):
            return self.factor * grad * (1 - self.y**2)

    class Wrong(Tanh):
        factor = 1.01

    assert check(Tanh(), None, torch.tanh, X).agrees
    assert check(Wrong(), None, torch.tanh, X).verdict == "disagree"


@pytest.mark.parametrize(("sign", "expected"), [(1, "agree"), (-1, "disagree")])
def test_upstream_gradients_may_be_starred(sign, expected) -> None:
    class Two:
        def forward(self, x):
            self.x = x
            return np.tanh(x), x**2

        def backward(self, *grads):
            return grads[0] * (1 - np.tanh(self.x) ** 2) + sign * 2 * self.x * grads[1]

    assert check(Two(), None, lambda x: (torch.tanh(x), x**2), X).verdict == expected


@pytest.mark.parametrize(("sign", "expected"), [(1, "agree"), (-1, "disagree")])
def test_an_object_with_two_outputs_keeps_its_cache_to_itself(sign, expected) -> None:
    class Cell:
        def forward(self, x, c):
            self.x, self.n = x, np.tanh(x) + c
            return np.tanh(self.n), self.n

        def backward(self, dh, dn):
            dn = dn + sign * dh * (1 - np.tanh(self.n) ** 2)
            return dn * (1 - np.tanh(self.x) ** 2), dn

    def reference(x, c):
        n = torch.tanh(x) + c
        return torch.tanh(n), n

    assert check(Cell(), None, reference, {"x": (4, 3), "c": (4, 3)}).verdict == expected


# ── what is tried ────────────────────────────────────────────────────────────────────────────────
def cross_entropy(factor):
    def bce(p, y):
        p = np.clip(p, 1e-15, 1 - 1e-15)
        loss = -(y * np.log(p) + (1 - y) * np.log(1 - p)).sum()
        return float(loss), factor * (p - y) / (p * (1 - p))

    return bce


def torch_cross_entropy(p, y):
    return -(y * torch.log(p) + (1 - y) * torch.log(1 - p)).sum()


@pytest.mark.parametrize(("factor", "expected"), [(1.0, "agree"), (0.5, "disagree")])
@pytest.mark.parametrize("drawn", [True, False], ids=["drawn", "given"])
def test_probabilities_stay_probabilities(factor, expected, drawn: bool) -> None:
    p = np.random.default_rng(0).random((4, 3)) * 0.8 + 0.1
    inputs = {"p": (4, 3) if drawn else p, "y": (p > 0.5) * 1.0}
    options = {"domain": {"p": "probability"}} if drawn else {}
    bce = cross_entropy(factor)

    report = check(bce, None, torch_cross_entropy, inputs, no_grad=["y"], **options)

    assert report.verdict == expected


class Convolution:
    def __init__(self, i, o, k, factor=1.0):
        self.i, self.o, self.k, self.factor = i, o, k, factor
        self.W, self.dW = np.ones((o, i, k)), np.zeros((o, i, k))

    def forward(self, x):
        self.x = x
        z = np.zeros((len(x), self.o, x.shape[2] - self.k + 1))
        for j in range(self.o):
            for t in range(z.shape[2]):
                z[:, j, t] = np.sum(x[:, :, t : t + self.k] * self.W[j], axis=(1, 2))
        return z

    def backward(self, d):
        dx, self.dW = np.zeros_like(self.x), np.zeros_like(self.W)
        for j in range(self.o):
            for t in range(d.shape[2]):
                g = d[:, j, t][:, None, None]
                dx[:, :, t : t + self.k] += g * self.W[j] * self.factor
                self.dW[j] += (g * self.x[:, :, t : t + self.k]).sum(0)
        return dx


@pytest.mark.parametrize(("factor", "expected"), [(1.0, "agree"), (1.001, "disagree")])
def test_an_object_keeps_the_sizes_that_it_was_made_for(factor, expected) -> None:
    inputs = {"x": (2, 3, 7), "W": (4, 3, 3)}

    report = check(Convolution(3, 4, 3, factor), None, functional.conv1d, inputs)
    cases = set(report.differences["layer"])

    assert report.verdict == expected
    assert "batch of 1" in cases  # 2 is none of its sizes
    assert not cases & {"W axis 0 = 1", "x axis 1 = 1"}


@pytest.mark.parametrize(("sign", "expected"), [(-1.0, "agree"), (1.0, "disagree")])
def test_python_may_raise_at_a_pole(sign, expected) -> None:
    inverse = np.vectorize(lambda x: 1.0 / float(x), otypes=[float])

    report = check(
        lambda x: (inverse(x), x), lambda d, x: sign * d * inverse(x) ** 2, torch.reciprocal, X
    )

    assert report.verdict == expected
    assert any("ZeroDivisionError" in note for note in report.notes)


# ── without a reference ──────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("seed", [1, 2, 5])
def test_three_equal_numbers_may_be_sorted_in_any_order(seed: int) -> None:
    def forward(x):
        p = np.argsort(x, kind="stable")
        return x[p], p

    def right(d, p):
        g = np.zeros_like(d)
        g[p] = d
        return g

    assert check(forward, right, inputs={"x": (7,)}, seed=seed).agrees
    assert check(forward, lambda d, p: d[p], inputs={"x": (7,)}, seed=seed).verdict == "disagree"
    wrong = check(forward, lambda d, p: 1.01 * right(d, p), inputs={"x": (7,)}, seed=seed)
    assert wrong.verdict == "disagree"


@pytest.mark.parametrize("w", [6.0, 1.0])
def test_forward_may_round_larger_numbers_than_it_returns(w: float) -> None:
    def forward(x):
        return w - (w - x), x

    assert check(forward, lambda d, x: d, inputs={"x": (6,)}).agrees
    assert check(forward, lambda d, x: 1.001 * d, inputs={"x": (6,)}).verdict == "disagree"


def test_differences_of_nearly_equal_numbers_are_judged_where_code_refuses_the_gauge() -> None:
    def forward(x):
        return np.where(x <= 0, np.exp(np.asarray(x, dtype=float)) - 1, x), x

    def run(slope):
        return check(forward, lambda d, x: d * slope(x), functional.elu, {"x": (4, 5)}).verdict

    assert run(lambda x: np.where(x <= 0, np.exp(x), 1.0)) == "agree"
    assert run(lambda x: np.where(x <= 0, np.exp(x) - 1e-6, 1.0)) == "disagree"


# ── the reference ────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("cases", [["random"], None])
@pytest.mark.parametrize("factor", [1.0, 1 + 1e-6])
def test_a_reference_that_is_inaccurate_is_blamed_and_nobody_else(
    factor: float, cases: list[str] | None
) -> None:
    """Torch's float64 hardsigmoid multiplies by float32's 1/6 in backward."""

    class HardSigmoid(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return torch.clamp(x / 6 + 0.5, 0, 1)

        @staticmethod
        def backward(ctx, g):
            inside = ctx.saved_tensors[0].abs() < 3
            return g * inside * float(np.float32(1 / 6))

    def forward(x):
        return np.minimum(np.maximum(x / 6 + 0.5, 0), 1), x

    report = check(
        forward, lambda d, x: factor * d * (np.abs(x) < 3) / 6, HardSigmoid.apply, X,
        cases=cases,
    )  # fmt: skip

    if factor == 1:
        assert report.verdict == "incomplete"
        assert report.reason.startswith("Reference inaccurate")
        assert report.first_divergence is None
        assert report.cause is None
    else:
        assert report.verdict == "disagree"


@pytest.mark.parametrize("cases", [["random", "tiny"], ["random", "zeros"]])
@pytest.mark.parametrize("width", [1e-5, 1e-6])
def test_no_reference_is_blamed_for_what_bends_within_large_steps(
    width: float, cases: list[str]
) -> None:
    """The hand-written gradient forgets a term that steps of 1 do not see."""
    report = check(
        lambda x: (x + 1e-4 * width * np.tanh(x / width), x), lambda d, x: d,
        lambda x: x + 1e-4 * width * torch.tanh(x / width), X, cases=cases,
    )  # fmt: skip

    assert report.verdict == "disagree"


# ── causes ───────────────────────────────────────────────────────────────────────────────────────
def normalised(eps, cast=lambda a: a):
    def forward(x):
        s = np.sqrt(((x - x.mean(0)) ** 2).mean(0) + eps)
        return (x - x.mean(0)) / s, ((x - x.mean(0)) / s, s)

    def backward(d, cache):
        n, s = cache
        return cast((d - d.mean(0) - n * (d * n).mean(0)) / s)

    return forward, backward


def test_a_forgotten_epsilon_is_no_hidden_float32() -> None:
    def reference(x):
        return functional.batch_norm(x, None, None, None, None, True, eps=1e-5)

    inputs = {"x": (7, 4)}
    forgotten = check(*normalised(0.0), reference, inputs, cases=["random"])
    cast = check(
        *normalised(1e-5, lambda a: a.astype(np.float32).astype(float)), reference, inputs,
        cases=["random"],
    )  # fmt: skip

    assert forgotten.verdict == "disagree"
    assert forgotten.cause.kind == "epsilon"
    assert cast.cause.kind == "hidden float32"


def test_gradients_in_the_wrong_order_are_named_whatever_else_is_given() -> None:
    def loss(mu, lv, y):
        value = (0.5 * (np.exp(lv) + mu**2 - 1 - lv).sum() + y.sum()) / len(mu)
        return value, ((np.exp(lv) - 1) / (2 * len(mu)), mu / len(mu))

    def reference(mu, lv, y):
        return (0.5 * (lv.exp() + mu**2 - 1 - lv).sum() + y.sum()) / len(mu)

    report = check(
        loss, None, reference, {"mu": (4, 3), "lv": (4, 3), "y": np.ones((4, 6))}, no_grad=["y"]
    )

    assert report.cause.kind == "another tensor"
    assert "gradient of lv, not of mu" in report.cause.evidence


@pytest.mark.parametrize(
    ("change", "kind"),
    [(lambda g: np.clip(g, -0.3, 0.3), "clipped"), (lambda g: g[::-1, ::-1], "axes")],
)
def test_clipping_and_rotation_are_named(change, kind: str) -> None:
    report = check(
        lambda x: (x**3, x), lambda d, x: change(3 * d * x**2), lambda x: x**3, {"x": (5, 4)},
        cases=["random"],
    )  # fmt: skip

    assert report.verdict == "disagree"
    assert report.cause.kind == kind
