"""Every example of every class, asked the same questions; a new class needs no line here.

Does it agree with torch, fit its own forward, leave its arguments alone, run in every number
system, and compute what its equations say? Each question also rejects planted mistakes.
"""

from __future__ import annotations

import copy
import inspect
import itertools
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch.func import functional_call

from compare.explaining.bound import Pass, role_of
from compare.explaining.equations import chosen, equation
from compare.explaining.evaluate import Env, bind, head
from compare.explaining.language import parse
from compare.gauge import gauge, gauging
from compare.pair.example import Made, distinct, is_real, made, shown
from manual import registry
from manual.distance import CosineSimilarity, PairwiseDistance
from manual.examples import Example
from manual.layer import Layer
from manual.losses import Loss
from tests.helpers import F32, F64, assert_close
from torch_ref.classes import module_class
from torch_ref.draws import Replay

RTOL = {F64: 1e-12, F32: 3e-5}
Tensors = dict[str, Any]
ALL = [
    (cls, example)
    for table in registry.KINDS.values()
    for cls in table.values()
    for example in cls.examples
    if example.inputs
]


@contextmanager
def told(what: str) -> Iterator[None]:
    """Say of a failure what it is about."""
    try:
        yield
    except BaseException as failure:
        failure.add_note(what)
        raise


def of_every(pairs: Iterable[tuple[type[Layer], Example]]) -> Callable[[Callable], Callable]:
    """Make one test for each class of a question about an example: it asks of them all."""
    examples: dict[type[Layer], list[Example]] = {}
    for cls, example in pairs:
        examples.setdefault(cls, []).append(example)

    def decorate(ask: Callable) -> Callable:
        def test(cls: type[Layer], **others: Any) -> None:
            skipped = []
            for example in examples[cls]:
                try:
                    with told(shown(cls.__name__, example.arguments)):
                        ask(cls, example, **others)
                except pytest.skip.Exception as skip:
                    skipped.append(skip)
            if len(skipped) == len(examples[cls]):
                raise skipped[0]

        asked = inspect.signature(ask).parameters.values()
        test.__name__, test.__module__ = ask.__name__, ask.__module__
        test.__signature__ = inspect.Signature([p for p in asked if p.name != "example"])  # type: ignore[attr-defined]
        names = distinct(cls.__name__ for cls in examples)
        return pytest.mark.parametrize("cls", examples, ids=names)(test)

    return decorate


def of_one_output(cls: type[Layer], example: Example) -> bool:
    """Whether torch's twin is called as the layer is: one output, and noise that is one array."""
    layer = cls(**example.arguments)
    return len(layer.outputs) == 1 and not (layer.stochastic and layer.params)


EVERY = of_every(ALL)
# the others: tests/manual/recurrent, attention and pool
BESIDE_TORCH = of_every(pair for pair in ALL if of_one_output(*pair))
pytestmark = pytest.mark.filterwarnings(
    "ignore:Using padding='same' with even kernel",
    "ignore:Implicit dimension choice",
    "ignore:dropout2d. Received a 3D input",
)


def case_of(cls: type[Layer], example: Example, dtype: Any = F64) -> Made:
    seed = zlib.crc32(shown(cls.__name__, example.arguments).encode())
    return made(cls, example, np.random.default_rng(seed), dtype)


def upstream(case: Made) -> Any:
    return case.upstream(np.random.default_rng(7))


def outputs(y: Any) -> list[Any]:
    return list(y) if isinstance(y, tuple) else [y]


def run(case: Made, dy: Any = None) -> Tensors:
    """Return every output, and every gradient under an upstream gradient."""
    y, cache = case.forward()
    found = dict(zip(case.layer.outputs, outputs(y), strict=True))
    grads = case.gradients(upstream(case) if dy is None else dy, cache)
    return found | {f"gradient of {name}": grad for name, grad in grads.items()}


# ── torch ────────────────────────────────────────────────────────────────────────────────────────
def by_torch(case: Made, cls: type[Layer], example: Example, dtype: Any) -> Tensors:
    """Return the same of torch's twin; a random layer's noise stands in for its own draw."""
    kind = torch.float32 if dtype == F32 else torch.float64
    values = case.values
    leaves = {k: torch.tensor(v, requires_grad=True) for k, v in values.items()}
    arguments = {
        k: torch.tensor(v, dtype=kind) if isinstance(v, list) else v
        for k, v in example.arguments.items()
    }
    twin = module_class(cls.__name__)(**arguments).to(kind).train(example.training)
    inputs = [
        leaves.get(k, None if x is None else torch.tensor(x))
        for k, x in zip(case.names, case.inputs, strict=True)
    ]
    state = {k: leaves[k] for k in case.layer.params}
    state |= {k: torch.tensor(b) for k, b in case.layer.buffers.items()}
    with nullcontext() if case.noise is None else Replay([torch.tensor(case.noise)]):
        y = functional_call(twin, state, tuple(inputs))
    dys = [torch.tensor(d) for d in outputs(upstream(case)) if d is not None]
    ys = [part for part in outputs(y) if part.requires_grad]
    grads = torch.autograd.grad(ys, list(leaves.values()), dys, allow_unused=True)
    found = {k: part.detach().numpy() for k, part in zip(case.layer.outputs, outputs(y))}  # noqa: B905
    return found | {
        f"gradient of {k}": np.zeros_like(values[k]) if g is None else g.numpy()
        for k, g in zip(leaves, grads, strict=True)
    }


def lost(case: Made) -> float:
    """Return how much larger than their spread inputs far from zero are: what centring costs."""
    floats = [x for x in case.values.values() if x.size and np.ptp(x) > 0]
    found = max((float(np.abs(x).max() / np.ptp(x)) for x in floats), default=1.0)
    return found if found > 100 else 1.0


def assert_like(found: Tensors, expected: Tensors, rtol: float, scale: float = 0.0) -> None:
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert_close(name, np.asarray(found[name]), value, rtol, scale)


@pytest.mark.parametrize("dtype", [F64, F32], ids=str)
@BESIDE_TORCH
def test_agrees_with_torch(cls: type[Layer], example: Example, dtype: Any) -> None:
    case = case_of(cls, example, dtype)

    rtol = RTOL[dtype] * lost(case)
    assert_like(run(case), by_torch(case, cls, example, dtype), rtol, scale=1.0)


# ── its own forward ──────────────────────────────────────────────────────────────────────────────
def slopes(case: Made, dy: Any, step: float = 1e-6) -> Tensors:
    """Return Σ dy · y by central differences, for every element that has a gradient."""
    found: Tensors = {}
    for name, value in case.values.items():
        grad = np.zeros_like(value)
        for index in np.ndindex(value.shape):
            ends = []
            for sign in (1, -1):
                moved = value.copy()
                moved[index] += sign * step
                y = case.with_values({name: moved}).forward()[0]
                pairs = zip(outputs(dy), outputs(y), strict=True)
                ends.append(sum(np.sum(d * part) for d, part in pairs if d is not None))
            grad[index] = (ends[0] - ends[1]) / (2 * step)
        found[f"gradient of {name}"] = grad
    return found


@EVERY
def test_fits_its_own_forward(cls: type[Layer], example: Example) -> None:
    if example.convention:
        pytest.skip("backward is a convention here")
    case = case_of(cls, example)
    found = run(case)
    grads = {k: v for k, v in found.items() if k.startswith("gradient")}

    assert_like(grads, slopes(case, upstream(case)), 1e-7, scale=1.0)


# ── purity ───────────────────────────────────────────────────────────────────────────────────────
def frozen(value: Any) -> Any:
    """Return arrays that cannot be written, inside tuples as well."""
    if isinstance(value, np.ndarray):
        value = value.copy()
        value.setflags(write=False)
    return value


def seen(value: Any) -> Any:
    """Return what can be compared of a value: of a layer, its attributes."""
    if isinstance(value, Layer):
        return {k: seen(v) for k, v in vars(value).items() if k != "_plans"}  # made when asked
    return tuple(map(seen, value)) if isinstance(value, tuple) else value


@EVERY
def test_changes_nothing_and_gives_the_same_twice(cls: type[Layer], example: Example) -> None:
    case = case_of(cls, example)
    layer = case.layer.with_params({k: frozen(p) for k, p in case.layer.params.items()})
    case = replace(case, layer=layer, inputs=tuple(map(frozen, case.inputs)))
    before = copy.deepcopy(seen(case.layer))
    first, dy = case.forward(), upstream(case)
    other = case.forward()  # a cache kept on the layer would be this one's
    dy = tuple(map(frozen, dy)) if isinstance(dy, tuple) else frozen(dy)
    one, again = case.gradients(dy, first[1]), case.gradients(dy, first[1])

    for a, b in zip(outputs(first[0]), outputs(other[0]), strict=True):
        np.testing.assert_array_equal(a, b)
    for name, grad in one.items():
        np.testing.assert_array_equal(grad, again[name])
    for key, grad in case.layer.grad_params(dy, first[1]).items():
        np.testing.assert_array_equal(grad, one[key])
    np.testing.assert_equal(seen(case.layer), before)


# ── number systems ───────────────────────────────────────────────────────────────────────────────
def lifted(case: Made, lift: Callable) -> Made:
    """Return the case in another number system."""
    real = {k: lift(x) for k, x in zip(case.names, case.inputs, strict=True) if is_real(x)}
    return case.with_values(real | {k: lift(p) for k, p in case.layer.params.items()})


@EVERY
def test_error_gauges_carry_the_plain_values(cls: type[Layer], example: Example) -> None:
    case = case_of(cls, example)
    dy = upstream(case)
    with gauging(F64):
        lift = lambda x: gauge(x) if is_real(x) else x  # noqa: E731
        gauged = run(
            lifted(case, lift), tuple(map(lift, dy)) if isinstance(dy, tuple) else lift(dy)
        )

    for name, plain in run(case, dy).items():
        value = gauged[name]
        np.testing.assert_allclose(getattr(value, "v", value), plain, rtol=1e-13, atol=1e-13)


@EVERY
def test_complex_numbers_without_an_imaginary_part_give_the_real_result(
    cls: type[Layer], example: Example
) -> None:
    case = case_of(cls, example)
    dy, few = upstream(case), 1e-13 * lost(case)
    lift = lambda x: x.astype(complex) if is_real(x) else x  # noqa: E731
    found = run(lifted(case, lift), tuple(map(lift, dy)) if isinstance(dy, tuple) else lift(dy))

    for name, real in run(case, dy).items():
        np.testing.assert_allclose(np.real(found[name]), real, rtol=few, atol=few)
        assert not np.any(np.imag(found[name]))


@EVERY
def test_float32_stays_float32_and_near_float64(cls: type[Layer], example: Example) -> None:
    case = case_of(cls, example, F32)
    single, double = run(case), run(case_of(cls, example))

    for name, exact in double.items():
        if np.asarray(exact).dtype.kind in "iu":  # indices have no precision
            continue
        assert np.asarray(single[name]).dtype == F32
        assert_close(
            name, np.asarray(single[name]).astype(float), exact, 3e-5 * lost(case), scale=1.0
        )


def has_axes(example: Example) -> bool:
    return not any(isinstance(spec, tuple) and spec == () for spec in example.inputs)


def fractions(x: np.ndarray) -> np.ndarray:
    """Return small whole numbers, divided by 3 and kept as fractions."""
    return np.vectorize(lambda v: Fraction(int(np.rint(v)), 3), otypes=[object])(x)


@of_every(
    (c, e)
    for c, e in ALL
    if e.exact and c.__name__ in registry.LAYERS and has_axes(e) and of_one_output(c, e)
)
def test_fractions_run_through_layers_that_are_exact(cls: type[Layer], example: Example) -> None:
    case = case_of(cls, example)
    lift = lambda x: fractions(2 * x)  # noqa: E731
    dy = lift(np.asarray(upstream(case)))
    thirds = run(lifted(case, lift), dy)
    floats = run(lifted(case, lambda x: lift(x).astype(float)), dy.astype(float))

    for name, approximate in floats.items():
        mine = np.asarray(thirds[name])
        assert all(isinstance(v, Fraction | int) or v == Fraction(v) for v in mine.ravel())
        assert_close(name, mine.astype(float), approximate, 1e-14)


# ── equations ────────────────────────────────────────────────────────────────────────────────────
def roles(case: Made) -> Iterator[tuple[str, str, int]]:
    """Yield a tensor's name, its equation's role, and the position of the input."""
    yield case.layer.outputs[0], "output", 0
    free = case.values
    for position, name in ((p, n) for p, n in enumerate(case.names) if n in free):
        role = role_of(case.layer, position, len(case.inputs))
        yield f"gradient of {name}", role, position
    for key in case.layer.params:
        yield f"gradient of {key}", f"grad:{key}", 0


def worked(case: Made, role: str, position: int, dy: Any) -> np.ndarray:
    """Evaluate an equation at every element."""
    asked = Pass(case.layer, role, case.inputs, dy, position, case.noise)
    formula = equation(case.layer, role, asked.holds)
    bound = asked.bound(formula)
    env = Env(bound.arrays, bound.scalars, formula.definitions, bound.fold)
    right, indices = parse(formula.right), head(formula.left)[1]
    scaled = 1.0 if role == "output" or {"dy", "dz"} & formula.used else float(dy)
    shape = np.shape(
        run(case, dy)[next(n for n, r, p in roles(case) if (r, p) == (role, position))]
    )
    result = np.zeros(shape)
    for at in np.ndindex(shape):
        result[at] = scaled * float(env.value(right, bind(indices, bound.at(at))))
    return result


def stretched(case: Made) -> bool:
    """Whether inputs broadcast, or rows hold further axes: indices then say something else."""
    of_pairs = any(key.startswith("grad_x") for key in case.layer.equations)
    if registry.GATES.get(type(case.layer).__name__) and of_pairs:
        return len({np.shape(x) for x in case.inputs}) > 1
    shapes = [np.shape(x) for x in case.inputs]
    if isinstance(case.layer, CosineSimilarity | PairwiseDistance):
        return len(set(shapes)) > 1 or shapes[0] == ()
    if isinstance(case.layer, Loss) and any(s != max(shapes, key=len)[: len(s)] for s in shapes):
        return True
    by_rows = "input.shape" in " ".join(case.layer.symbols.values())
    classes = any(not is_real(x) for x in case.inputs)
    return (by_rows or classes) and np.ndim(case.inputs[0]) != 2


def unsaid(case: Made, role: str, asked: Pass) -> bool:
    """Whether a class says nothing of this role but for special cases, of which this is none."""
    if role in case.layer.equations:
        return False
    try:
        chosen(case.layer.equations, role, asked.holds)
    except KeyError:
        return True
    return False


def several(cls: type[Layer]) -> bool:
    """Whether an output beyond the first has equations: tests/compare/explaining asks those."""
    return any(key.startswith("output:") for key in cls.equations)


def parts(keys: Iterable[str]) -> set[tuple[str, str]]:
    """Return every role with each of its variants' words: not every combination has an example."""
    named = ((role, words) for role, _, words in (key.partition("/") for key in keys))
    return {(role, word) for role, words in named for word in words.split(", ")}


@EVERY
def test_the_equations_give_its_numbers(cls: type[Layer], example: Example) -> None:
    case = case_of(cls, example)
    dy, small = upstream(case), sum(np.size(x) for x in case.inputs) < 130
    if stretched(case) or not small or several(cls) or not cls.equations:
        pytest.skip("an equation is about rows of one shape, and slow on many")
    found = run(case, dy)

    for name, role, position in roles(case):
        asked = Pass(case.layer, role, case.inputs, dy, position, case.noise)
        if name in found and not unsaid(case, role, asked):
            value = worked(case, role, position, dy)
            np.testing.assert_allclose(value, found[name], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("cls", dict.fromkeys(cls for cls, _ in ALL if not several(cls)))
def test_the_examples_leave_no_equation_of_a_class_untried(cls: type[Layer]) -> None:
    tried = set()
    for example in cls.examples:
        case = case_of(cls, example)
        for _, role, position in roles(case):
            asked = Pass(case.layer, role, case.inputs, upstream(case), position, case.noise)
            if not unsaid(case, role, asked):
                tried.add(chosen(cls.equations, role, asked.holds))

    assert tried <= set(cls.equations)
    assert parts(cls.equations) == parts(tried)


# ── planted mistakes ─────────────────────────────────────────────────────────────────────────────
MISTAKES: Mapping[str, Callable[[np.ndarray], Any]] = {
    "off by 1e-6": lambda g: g * (1 + 1e-6),
    "negated": lambda g: -g,
    "dropped": lambda g: 0 * g,
    "one element": lambda g: g + 1e-5 * (np.arange(g.size) == 0).reshape(g.shape),
}


@BESIDE_TORCH
def test_planted_mistakes_are_rejected(cls: type[Layer], example: Example) -> None:
    case = case_of(cls, example)
    expected, right = by_torch(case, cls, example, F64), run(case)
    grads = [(name, grad) for name, grad in right.items() if name.startswith("gradient")]

    for (mistake, made_in), (name, grad) in itertools.product(MISTAKES.items(), grads):
        wrong = made_in(np.asarray(grad))
        if not np.array_equal(wrong, grad):
            with told(f"{name} {mistake}"), pytest.raises(AssertionError, match="off by"):
                assert_like(right | {name: wrong}, expected, 1e-9)
