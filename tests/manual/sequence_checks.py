"""How a layer with several outputs and optional inputs is checked: recurrent ones, attention.

Each check raises AssertionError; the tests also hand each one planted mistakes it must reject.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from compare.explaining.evaluate import Env, bind, definition, head
from compare.explaining.language import parse
from compare.gauge import Gauge, gauge, gauging
from compare.witness.certify import certify
from manual.examples import Example
from manual.layer import Layer
from tests.helpers import F64, RTOL, assert_close, same

Named = dict[str, Any]
Inputs = Sequence[Any]  # an array or None for each argument of forward


def of_example(kind: type[Layer], example: Example, seed: int = 0) -> tuple[Layer, Inputs, Any]:
    """Return an example's layer with random parameters, its inputs and its noise."""
    rng = np.random.default_rng(seed)
    layer = filled(kind(**example.arguments).train(example.training), rng)
    inputs = example.draw(rng)
    draws = example.noise and layer.stochastic
    return layer, inputs, layer.draw(*inputs, rng=rng) if draws else None


def filled(layer: Layer, rng: np.random.Generator, dtype: np.dtype = F64) -> Layer:
    """Return the layer with random parameters."""
    params = {k: 0.6 * rng.standard_normal(p.shape) for k, p in layer.params.items()}
    return layer.with_params({k: p.astype(dtype) for k, p in params.items()})


def shown(example: Example) -> str:
    """Return an example's name in a test's."""
    arguments = ", ".join(f"{k}={v}" for k, v in example.arguments.items())
    kinds = [x.dtype.name if isinstance(x, np.ndarray) else x for x in example.inputs]
    return f"{arguments}; {kinds}; {'training' if example.training else 'evaluation'}"


def is_float(x: Any) -> bool:
    return x is not None and x.dtype.kind in "fc"


def cast(inputs: Inputs, dtype: Any) -> list[Any]:
    return [x.astype(dtype) if is_float(x) else x for x in inputs]


# ── results ──────────────────────────────────────────────────────────────────────────────────────
def drawing(layer: Layer, noise: Any) -> dict[str, Any]:
    """Return the noise as forward takes it, if it does."""
    return {"noise": noise} if layer.stochastic else {}


def outputs_of(layer: Layer, inputs: Inputs, noise: Any) -> list[Any]:
    y = layer.forward(*inputs, **drawing(layer, noise))[0]
    return list(y) if len(layer.outputs) > 1 else [y]


def upstream(layer: Layer, inputs: Inputs, noise: Any, port: str | None = None) -> list[Any]:
    """Return a random gradient for each output; with a port, zeros for all others."""
    rng = np.random.default_rng(5)
    drawn = [
        np.asarray(rng.standard_normal(y.shape), dtype=y.dtype)
        for y in outputs_of(layer, inputs, noise)
    ]
    return [
        d if port in (None, name) else 0 * d for name, d in zip(layer.outputs, drawn, strict=True)
    ]


def results(layer: Layer, inputs: Inputs, ups: Sequence[Any], noise: Any = None) -> Named:
    """Return every output and every gradient by name."""
    y, cache = layer.forward(*inputs, **drawing(layer, noise))
    several = len(layer.outputs) > 1
    grad_inputs, grads = layer.backward(tuple(ups) if several else ups[0], cache)
    assert all(g is None for g in grad_inputs[len(inputs) :]), "a gradient of nothing given"
    assert list(grads) == list(layer.params)
    found = dict(zip(layer.outputs, y if several else (y,), strict=True))
    found |= {f"input {i}": g for i, g in enumerate(grad_inputs) if g is not None}
    return found | {f"grad:{k}": g for k, g in grads.items()}


# ── beside torch ─────────────────────────────────────────────────────────────────────────────────
def twin(layer: Layer, arguments: Mapping[str, Any], dtype: np.dtype) -> Any:
    """Return the torch.nn module with the layer's mode and parameters."""
    import torch

    from torch_ref.classes import module_class

    theirs = {k: v for k, v in arguments.items() if k not in call_arguments(layer)}
    module = module_class(type(layer).__name__)(**theirs).to(
        torch.float64 if dtype == F64 else torch.float32
    )
    module.load_state_dict({k: torch.tensor(v) for k, v in layer.params.items()})
    assert list(module.state_dict()) == list(layer.params)
    return module.train(layer.training)


def call_arguments(layer: Layer) -> tuple[str, ...]:
    """Return which arguments of the constructor are torch's forward's."""
    return getattr(layer, "call_arguments", ())


def torch_call(layer: Layer, module: Any, tensors: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Return torch's outputs, and the masks that it drew on the way."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    from torch_ref.recurrent import call_of

    drawn: list[Any] = []

    class Recorder(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None):
            out = func(*args, **(kwargs or {}))
            name = func.overloadpacket.__name__
            if name == "native_dropout":
                drawn.append(out[1].clone().numpy())
            elif name.startswith("bernoulli"):
                drawn.append((out != 0).numpy())
            return out

    with Recorder():
        if not isinstance(module, torch.nn.MultiheadAttention):
            places, named = call_of(module, tensors)
            return tree_leaves(module(*places, **named)), drawn
        query, key, value, padding, attention = tensors
        options = {name: getattr(layer, name) for name in call_arguments(layer)}
        found = module(query, key, value, key_padding_mask=padding, attn_mask=attention, **options)
    return [y for y in found if y is not None], drawn


def beside_torch(
    layer: Layer,
    arguments: Mapping[str, Any],
    inputs: Inputs,
    *,
    seed: int = 0,
    port: str | None = None,
    dtype: np.dtype = F64,
) -> tuple[Named, Named, Any]:
    """Return our results, torch's, and the noise that torch drew and both used."""
    import torch

    torch.manual_seed(seed)
    layer = layer.with_params({k: p.astype(dtype) for k, p in layer.params.items()})
    inputs = cast(inputs, dtype)
    module = twin(layer, arguments, dtype)
    leaves = [None if x is None else torch.tensor(x, requires_grad=is_float(x)) for x in inputs]
    outputs, drawn = torch_call(layer, module, leaves)
    noise = tuple(drawn) if drawn else None
    if layer.training and getattr(layer, "dropout", 0) == 1:  # torch drops all and draws nothing
        noise = layer.draw(*inputs, rng=np.random.default_rng(0))
    ups = upstream(layer, inputs, noise, port)
    names = [f"input {i}" for i, t in enumerate(leaves) if t is not None and t.requires_grad]
    wanted = [t for t in leaves if t is not None and t.requires_grad]
    params = dict(module.named_parameters())
    gradients = torch.autograd.grad(
        outputs, [*wanted, *params.values()], list(map(torch.tensor, ups)), allow_unused=True
    )
    theirs = dict(zip(layer.outputs, outputs, strict=True))
    theirs |= dict(zip([*names, *(f"grad:{k}" for k in params)], gradients, strict=True))
    plain = {k: v.detach().numpy() for k, v in theirs.items() if v is not None}
    return results(layer, inputs, ups, noise), plain, noise


def check_beside_torch(
    layer: Layer, arguments: Mapping[str, Any], inputs: Inputs, **options: Any
) -> None:
    """Compare every output and every gradient with torch's, on torch's own draws."""
    mine, theirs, _ = beside_torch(layer, arguments, inputs, **options)
    assert mine.keys() == theirs.keys(), f"ours {list(mine)}, torch's {list(theirs)}"
    dtype = options.get("dtype", F64)
    for name, value in theirs.items():
        assert_close(name, mine[name], value, RTOL[dtype], 1.0)  # sums that cancel: of size 1


# ── without torch ────────────────────────────────────────────────────────────────────────────────
def floats(layer: Layer, inputs: Inputs, fixed: Sequence[int] = ()) -> Named:
    """Return what has a gradient by the names that `results` uses."""
    found = {f"input {i}": x for i, x in enumerate(inputs) if is_float(x) and i not in fixed}
    return found | {f"grad:{k}": p for k, p in layer.params.items()}


def placed(layer: Layer, inputs: Inputs, values: Named) -> tuple[Layer, list[Any]]:
    """Return the layer and the inputs with other values in their places."""
    given = [values.get(f"input {i}", x) for i, x in enumerate(inputs)]
    return layer.with_params({k: values[f"grad:{k}"] for k in layer.params}), given


def check_own_forward(
    layer: Layer, inputs: Inputs, noise: Any = None, fixed: Sequence[int] = ()
) -> None:
    """Compare backward with complex steps along three directions through each tensor."""
    ups, rng = upstream(layer, inputs, noise), np.random.default_rng(3)
    found, values = results(layer, inputs, ups, noise), floats(layer, inputs, fixed)
    exact = {name: x.astype(complex) for name, x in values.items()}
    for name, x in values.items():
        for _ in range(3):
            direction = rng.standard_normal(x.shape)
            moved, given = placed(layer, inputs, exact | {name: x + 1e-100j * direction})
            ys = outputs_of(moved, given, noise)
            slope = sum(np.sum(u * y.imag) for u, y in zip(ups, ys, strict=True)) / 1e-100
            if name not in found:
                assert slope == 0, f"{name} has no gradient, but its slope is {slope}"
                continue
            claim = np.sum(found[name] * direction)
            assert abs(slope - claim) <= 1e-11 * max(1, abs(slope)), f"{name}: {claim}, not {slope}"


def check_certified(
    layer: Layer, inputs: Inputs, noise: Any = None, fixed: Sequence[int] = ()
) -> None:
    """Demand 50 proven digits of every gradient, in balls."""
    values = floats(layer, inputs, fixed)
    names = list(values)

    def forward(*arrays: Any) -> Any:
        twin, given = placed(layer, inputs, dict(zip(names, arrays, strict=True)))
        y, cache = twin.forward(*given, **drawing(twin, noise))
        return y, (twin, cache)

    def backward(dout: Any, state: Any) -> Named:
        grad_inputs, grads = state[0].backward(dout, state[1])
        found = {f"input {i}": g for i, g in enumerate(grad_inputs) if g is not None}
        return found | {f"grad:{k}": g for k, g in grads.items()}

    certificate = certify(forward, backward, values, bits=256, digits=50)
    assert certificate.certified, certificate.note


def check_gauge(layer: Layer, arguments: Mapping[str, Any], inputs: Inputs) -> None:
    """Demand the plain values on error arrays, and torch's within the tolerances found there.

    The tolerances may not be so wide that they would let half the digits go.
    """
    plain, theirs, noise = beside_torch(layer, arguments, inputs)
    ups = upstream(layer, inputs, noise)
    with gauging(F64):
        values = {name: gauge(x) for name, x in floats(layer, inputs).items()}
        lifted, given = placed(layer, inputs, values)
        found = results(lifted, given, [gauge(u) for u in ups], noise)
    assert found.keys() == plain.keys()
    for name, value in found.items():
        assert isinstance(value, Gauge), name
        assert np.array_equal(value.v, plain[name]), f"{name}: another value on the gauge"
        tolerance = value.tolerance(F64)
        assert tolerance.max() < 1e-8, f"{name}: a tolerance of {tolerance.max():.2g}"
        assert (np.abs(plain[name] - theirs[name]) <= tolerance).all(), f"{name}: beyond tolerance"


def check_complex(layer: Layer, inputs: Inputs, noise: Any = None) -> None:
    """Demand complex arrays in, complex arrays out, and the real results in them."""
    ups = upstream(layer, inputs, noise)
    values = {name: x.astype(complex) for name, x in floats(layer, inputs).items()}
    lifted, given = placed(layer, inputs, values)
    found = results(lifted, given, [u.astype(complex) for u in ups], noise)
    for name, real in results(layer, inputs, ups, noise).items():
        assert found[name].dtype == complex
        assert not found[name].imag.any(), name
        assert_close(name, found[name].real.copy(), real, 1e-13, 1.0)


def check_pure(layer: Layer, inputs: Inputs, noise: Any = None) -> None:
    """Demand that nothing given or returned is changed, and that results repeat exactly."""
    ups = upstream(layer, inputs, noise)
    given = copy.deepcopy((list(inputs), layer.params, noise, ups))
    y, cache = layer.forward(*inputs, **drawing(layer, noise))
    left = copy.deepcopy((y, cache))
    dy = tuple(ups) if len(layer.outputs) > 1 else ups[0]
    first = copy.deepcopy(layer.backward(dy, cache))
    layer.forward(*(x + 1 if is_float(x) else x for x in inputs), **drawing(layer, noise))
    second = layer.backward(dy, cache)
    assert same(second, first), "backward, done twice, changed"
    assert same((list(inputs), layer.params, noise, ups), given), "something given changed"
    assert same((y, cache), left), "the output or the cache changed"
    assert same(layer.grad_params(dy, cache), first[1]), "grad_params gives other gradients"


# ── its equations ────────────────────────────────────────────────────────────────────────────────
def check_equations(layer: Layer, inputs: Inputs, names: Mapping[str, str]) -> None:
    """Compare every element of every result that has an equation with what it says.

    `names` gives the role of a result, where that is not its name.
    """
    ups = upstream(layer, inputs, None)
    cache = layer.forward(*inputs)[1]
    held = [name for name in ("batch_first",) if getattr(layer, name)]
    parts = {*layer.variants(cache), *held}  # type: ignore[attr-defined]
    texts = {
        role: text
        for role, _, variant, text in ((*k.partition("/"), t) for k, t in layer.equations.items())
        if set(variant.split(", ")) == parts
    }
    used = set()
    for name, value in results(layer, inputs, ups).items():
        role = names.get(name, name)
        if role not in texts:
            continue
        used.add(role)
        for at in np.ndindex(value.shape):
            worked = _worked(layer, texts[role], inputs, ups, at)
            assert abs(worked - value[at]) <= 1e-12 * max(1, abs(worked)), f"{role} at {at}"
    assert used == set(texts), f"unused equations {set(texts) - used}"
    assert used, "no equation holds"


def _worked(
    layer: Layer, text: str, inputs: Inputs, ups: Sequence[Any], at: tuple[int, ...]
) -> float:
    first, *lines = text.splitlines()
    left, _, right = first.partition(" = ")
    arguments = type(layer).forward.__code__.co_varnames[1 : len(inputs) + 1]
    known = {**dict(zip(arguments, inputs, strict=True)), **layer.params}
    arrays = {"x": inputs[0], "dy": ups[0]}
    arrays |= {f"d{port}": u for port, u in zip(layer.outputs[1:], ups[1:], strict=True)}
    arrays |= {n: known[s] for n, s in layer.symbols.items() if known.get(s) is not None}
    scalars = {
        n: getattr(layer, s) for n, s in layer.symbols.items() if s not in known and n not in arrays
    }
    stated = dict(definition(line.removeprefix("where ")) for line in lines)
    env = Env(arrays, scalars, stated)
    return float(env.value(parse(right), bind(head(left)[1], at)))
