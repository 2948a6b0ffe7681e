"""Workers by hand: what they exchange, and that together they are one process."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import manual
from compare.pair.manual_side import ManualSide
from manual import activations
from manual.activations import ReLU
from manual.clipping import clip_grad_norm
from manual.graph import Graph, Sequential
from manual.linear import Linear
from manual.losses import CrossEntropyLoss
from manual.norm import BatchNorm1d, SyncBatchNorm
from manual.optimizers import SGD
from manual.parallel import collectives
from manual.parallel.plan import Plan, shards, split
from manual.parallel.reduction import owners, reduced
from manual.parallel.tensor import check_split, cut, of_tensor_workers
from manual.parallel.workers import name_of, of_workers, target_of

SIZES = st.lists(st.integers(2, 5), min_size=2, max_size=4)


def network(norm: bool = False) -> tuple[Graph, dict[str, np.ndarray]]:
    rng = np.random.default_rng(3)
    layers = [Linear(3, 4), *([SyncBatchNorm(4)] if norm else []), ReLU(), Linear(4, 2)]
    graph = Sequential(*layers)
    return graph, {name: rng.standard_normal(p.shape) for name, p in graph.params.items()}


def batch(rows: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(rows)
    return rng.standard_normal((rows, 3)), rng.integers(0, 2, rows)


def alone(graph: Graph, params: Any, x: Any, y: Any, reduction: str = "mean") -> dict:
    side = ManualSide(graph, CrossEntropyLoss(reduction=reduction), (), SGD(lr=0.1))
    return side.forward_backward(params, x, y).gradients.params


def together(
    graph: Graph, params: Any, plan: Plan, x: Any, y: Any, reduction: str = "mean", **how: Any
) -> dict:
    """Return every worker's own gradients, under the names of its copies."""
    joined = of_workers(graph, CrossEntropyLoss(reduction=reduction), plan, **how)
    several = plan.micro_batches > 1
    inputs = {}
    for worker, places in enumerate(plan.slices()):
        for micro, place in enumerate(places):
            call = micro if several else None
            inputs[name_of(worker, "input", call)] = x[place]
            inputs[target_of(worker, call)] = y[place]
    joined = joined.with_params({n: params[n.partition(".")[2]] for n in joined.params})
    tape = joined.run(inputs)
    return joined.gradients(tape, np.ones(())).params


def same(ours: dict, theirs: dict) -> bool:
    plain = {n.partition(".")[2]: g for n, g in ours.items() if n.startswith("worker0.")}
    return all(np.allclose(plain[name], theirs[name], rtol=1e-10, atol=1e-13) for name in theirs)


# ── what is exchanged ────────────────────────────────────────────────────────────────────────────
@given(st.integers(2, 4), st.integers(1, 3), st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_every_exchange_goes_back_through_its_transpose(workers: int, rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = [rows + i for i in range(workers)]
    same_size = [rng.standard_normal((rows, 2)) for _ in range(workers)]
    slices = [rng.standard_normal((n, 2)) for n in sizes]
    whole = [rng.standard_normal((sum(sizes), 2)) for _ in range(workers)]
    pairs: list[Any] = [
        (lambda a: collectives.all_reduce(a, "sum"),) * 2 + (same_size, same_size[::-1]),
        (lambda a: collectives.all_reduce(a, "mean"),) * 2 + (same_size, same_size[::-1]),
        (collectives.all_gather, lambda a: collectives.reduce_scatter(a, sizes), slices, whole),
    ]

    for there, back, x, dy in pairs:
        forward = sum(np.vdot(a, b) for a, b in zip(there(x), dy, strict=True))
        backward = sum(np.vdot(a, b) for a, b in zip(x, back(dy), strict=True))

        assert forward == pytest.approx(backward)


def test_an_all_reduce_is_a_gather_after_a_scatter() -> None:
    x = [np.arange(5.0) * k for k in range(1, 4)]
    sizes = split(5, 3)

    for whole, parts in zip(
        collectives.all_reduce(x),
        collectives.all_gather(collectives.reduce_scatter(x, sizes)),
        strict=True,
    ):
        assert np.array_equal(whole, parts)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: collectives.all_reduce([np.ones(2)], "max"), "'sum' or 'mean'"),
        (lambda: collectives.all_reduce([np.ones(2), np.ones(3)]), "one shape"),
        (lambda: collectives.all_gather([np.ones((1, 2)), np.ones((1, 3))]), "one shape"),
        (lambda: collectives.reduce_scatter([np.ones(3)] * 2, [1, 1]), "add up to 3"),
    ],
)
def test_what_does_not_fit_together_is_refused(call: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        call()


# ── shards ───────────────────────────────────────────────────────────────────────────────────────
@given(SIZES, st.integers(1, 2), st.sampled_from(["mean", "sum"]), st.sampled_from(["mean", "sum"]))
@settings(max_examples=25, deadline=None)
def test_weighed_workers_are_one_process_on_the_whole_batch(
    sizes: list[int], micro: int, reduce: str, reduction: str
) -> None:
    graph, params = network()
    x, y = batch(sum(sizes))
    plan = Plan(shards(sizes, micro), reduce, whole_batch=True, loss_sums=reduction == "sum")

    ours = reduced(together(graph, params, plan, x, y, reduction), plan.workers, reduce)

    assert same(ours, alone(graph, params, x, y, reduction))


@given(SIZES)
@settings(max_examples=15, deadline=None)
def test_the_plain_mean_is_the_mean_of_the_workers_means(sizes: list[int]) -> None:
    """Equal to one process's if the shards are equal, and only then."""
    graph, params = network()
    x, y = batch(sum(sizes))
    plan = Plan(shards(sizes, 1))
    own = [alone(graph, params, x[p], y[p]) for (p,) in plan.slices()]

    ours = reduced(together(graph, params, plan, x, y), plan.workers)

    assert same(ours, {n: np.mean([g[n] for g in own], axis=0) for n in params})
    assert same(ours, alone(graph, params, x, y)) == (len(set(sizes)) == 1)


def test_gradients_of_micro_batches_add_up_to_their_mean() -> None:
    graph, params = network()
    x, y = batch(8)

    ours = together(graph, params, Plan(shards([4, 4], 2)), x, y)
    undivided = together(graph, params, Plan(shards([4, 4], 2)), x, y, factor=2.0)

    assert same(ours, alone(graph, params, x[:4], y[:4]))
    assert not same(undivided, alone(graph, params, x[:4], y[:4]))


def test_a_batch_is_dealt_out_in_order_and_without_rest() -> None:
    plan = Plan(shards([5, 3], 2))

    assert plan.shards == ((3, 2), (2, 1))
    assert plan.slices() == [[slice(0, 3), slice(3, 5)], [slice(5, 7), slice(7, 8)]]
    assert split(7, 3) == (3, 2, 2)


# ── SyncBatchNorm ────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("space", [(), (3,)])
@given(SIZES)
@settings(max_examples=8, deadline=None)
def test_synchronised_statistics_are_those_of_all_rows(
    space: tuple[int, ...], affine: bool, sizes: list[int]
) -> None:
    from manual.parallel.batch_norm import WorkerBatchNorm

    rng = np.random.default_rng(0)
    x = rng.standard_normal((sum(sizes), 4, *space))
    dy = rng.standard_normal(x.shape)
    ends = np.cumsum(sizes)[:-1]
    one = BatchNorm1d(4, affine=affine)
    y, cache = one.forward(x)
    (dx,), grads = one.backward(dy, cache)
    layers = [WorkerBatchNorm.of(SyncBatchNorm(4, affine=affine), r) for r in range(len(sizes))]
    parts = [layer.forward(*np.split(x, ends)) for layer in layers]
    back = [
        layer.backward(d, c)
        for layer, (_, c), d in zip(layers, parts, np.split(dy, ends), strict=True)
    ]
    dxs = [sum(g[s] for g, _ in back) for s in range(len(sizes))]

    assert np.allclose(np.concatenate([p for p, _ in parts]), y)
    assert np.allclose(np.concatenate(dxs), dx)
    for name, grad in grads.items():
        assert np.allclose(sum(g[name] for _, g in back), grad)
    moved = one.next_buffers(cache)
    for name, buffer in layers[-1].next_buffers(parts[-1][1]).items():
        assert np.allclose(buffer, moved[name])


def test_own_statistics_are_others() -> None:
    graph, params = network(norm=True)
    x, y = batch(9)
    plan = Plan(shards([5, 4], 1), whole_batch=True)
    right = alone(graph, params, x, y)

    assert same(reduced(together(graph, params, plan, x, y), 2), right)
    assert not same(reduced(together(graph, params, plan, x, y, synchronised=False), 2), right)


# ── after the exchange ───────────────────────────────────────────────────────────────────────────
def test_clipping_before_the_exchange_is_another_step() -> None:
    """Two long gradients that cancel leave a short one, which needs no clipping."""
    own = {"worker0.w": np.array([3.0, 4.0]), "worker1.w": np.array([-3.0, -3.9])}

    after, _ = clip_grad_norm({"w": reduced(own, 2)["worker0.w"]}, 1.0)
    before = reduced({n: clip_grad_norm({"w": g}, 1.0)[0]["w"] for n, g in own.items()}, 2)

    assert after["w"] == pytest.approx([0.0, 0.05])
    assert not np.allclose(before["worker0.w"], after["w"])


def test_the_largest_parameter_goes_to_whoever_has_least() -> None:
    assert owners({"a": 2, "b": 9, "c": 4, "d": 3}, 2) == {"b": 0, "c": 1, "d": 1, "a": 1}


# ── a Linear in parts ────────────────────────────────────────────────────────────────────────────
@given(st.sampled_from([1, 2, 4]), st.integers(1, 4))
@settings(max_examples=12, deadline=None)
def test_a_linear_in_parts_has_the_gradients_of_the_whole(workers: int, rows: int) -> None:
    graph, params = network()
    x, y = batch(rows)
    plan = Plan(((rows,),) * workers, split={"0": "columns", "2": "rows"})
    whole = alone(graph, params, x, y)
    joined = of_tensor_workers(graph, CrossEntropyLoss(), plan)
    own = {
        name_of(worker, name): p
        for worker in range(workers)
        for name, p in cut(params, plan.split, worker, workers).items()
    }
    inputs = {name: y if name.endswith("target") else x for name in joined.inputs}
    joined = joined.with_params(own)

    found = joined.gradients(joined.run(inputs), np.ones(()), wrt=("worker0.input",))

    for worker in range(workers):
        for name, grad in cut(whole, plan.split, worker, workers).items():
            assert np.allclose(found.params[name_of(worker, name)], grad)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"1": "rows"}, "no Linear"),
        ({"2": "rows"}, "Split the Linear before it by columns"),
        ({"0": "columns"}, "needs all of"),
        ({"0": "columns", "2": "rows"}, "4 units, which 3 workers cannot share equally"),
        ({"2": "columns"}, "needs all"),
    ],
)
def test_a_split_that_leaves_parts_lying_about_is_refused(how: dict, said: str) -> None:
    graph, _ = network()

    with pytest.raises(ValueError, match=said):
        check_split(graph, Plan(((3,),) * (3 if "cannot" in said else 2), split=how))


UNFIT = ["GLU", "PReLU", "RReLU", "Softmax", "Dropout", "LayerNorm"]


@pytest.mark.parametrize("between", sorted({"Identity", *activations.__all__} - {*UNFIT}))
def test_what_acts_on_each_element_may_stand_between_columns_and_rows(between: str) -> None:
    cls = getattr(manual, between)
    layers = [Linear(3, 4), cls(**cls.examples[0].arguments), Linear(4, 2)]

    check_split(Sequential(*layers), Plan(((3,),) * 2, split={"0": "columns", "2": "rows"}))


@pytest.mark.parametrize("between", UNFIT)
def test_what_needs_more_or_draws_or_learns_may_not(between: str) -> None:
    layer = manual.LayerNorm(4) if between == "LayerNorm" else getattr(manual, between)()
    layers = [Linear(3, 4), layer, Linear(4, 2)]

    with pytest.raises(ValueError, match=f"'1' \\({between}\\) needs all of '0'"):
        check_split(Sequential(*layers), Plan(((3,),) * 2, split={"0": "columns", "2": "rows"}))
