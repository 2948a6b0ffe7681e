"""Which layers are checked, with which arguments, on inputs of which shapes and kinds."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from evidence.mutation.battery.base import Check
from evidence.mutation.battery.data import Shape
from evidence.mutation.battery.layers import ExactLayerCheck, LayerCheck

SMOOTH = ("random", "grid", "large", "small")
ONE, TWO, THREE = ((4, 3),), ((4, 3), (4, 3)), ((4, 3), (4, 3), (4, 3))
DEEP: tuple[Shape, ...] = ((2, 3, 4),)


@cache
def layer_checks() -> list[Check]:
    """Return every layer with its options; torch's defaults are tried by giving none."""
    return [*_activations(), *_affine(), *_softmax(), *_joins(), *_shapes()]


def _activations() -> Iterator[Check]:
    options: dict[str, tuple[dict[str, Any], ...]] = {
        "ReLU": ({},),
        "LeakyReLU": (
            {},
            {"negative_slope": 0.3},
            {"negative_slope": 1.75},
            {"negative_slope": -0.5},
        ),
        "ELU": ({}, {"alpha": 2.5}),
        "Softplus": ({}, {"beta": 2.0}, {"beta": 0.5, "threshold": 7.0}),
        "Sigmoid": ({},),
        "Tanh": ({},),
        "LogSigmoid": ({},),
        "SiLU": ({},),
        "GELU": ({}, {"approximate": "tanh"}),
    }
    for name, settings in options.items():
        for given in settings:
            for kind in SMOOTH:
                yield LayerCheck(name, tuple(given.items()), kinds=(kind,))
    for name, given in [("ReLU", {}), ("LeakyReLU", {"negative_slope": 0.25})]:
        yield ExactLayerCheck(name, tuple(given.items()), kinds=("ties", "grid"))


def _affine() -> Iterator[Check]:
    for bias in ({}, {"bias": False}):
        linear = tuple({"in_features": 3, "out_features": 5, **bias}.items())
        maxout = tuple({"in_features": 3, "out_features": 4, "num_pieces": 3, **bias}.items())
        for kind in ("random", "large", "small"):
            shapes = (((4, 3),), ((1, 3),), ((2, 4, 3),))
            yield LayerCheck("Linear", linear, shapes, (kind,))
            yield LayerCheck("Maxout", maxout, shapes, (kind,))
        yield ExactLayerCheck("Linear", linear, (((6, 3),), ((3,),)))
        yield ExactLayerCheck("Maxout", maxout, (((6, 3),), ((3,),)))
    yield LayerCheck("Linear", (("in_features", 3), ("out_features", 3)), (((3, 3),),))
    yield LayerCheck("Maxout", (("in_features", 3), ("out_features", 4)), (((5, 3),),))


def _softmax() -> Iterator[Check]:
    for name in ("Softmax", "LogSoftmax"):
        for dim in (-1, 0, 1):
            for kind in ("random", "ties", "large", "small"):
                yield LayerCheck(name, (("dim", dim),), (ONE, DEEP, ((1, 5),)), (kind,))


def _joins() -> Iterator[Check]:
    for name in ("Add", "Multiply"):
        yield LayerCheck(name, (), (TWO, THREE), ("random", "large", "small"))
        yield ExactLayerCheck(name, (), (TWO, THREE))
    sides: tuple[tuple[dict, tuple[Shape, ...]], ...] = (
        ({}, ((4, 2), (4, 3), (4, 1))),
        ({"dim": 0}, ((2, 3), (1, 3))),
        ({"dim": 1}, ((2, 2, 3), (2, 1, 3))),
    )
    for given, shapes in sides:
        both = (shapes, shapes[::-1][:2])  # other sizes, and fewer, on the same layer
        yield ExactLayerCheck("Concatenate", tuple(given.items()), both, ("random",))


def _shapes() -> Iterator[Check]:
    image: tuple[Shape, ...] = ((2, 3, 4, 5),)
    yield ExactLayerCheck("Identity", (), (ONE,), ("random",))
    for start, end in ((1, -1), (0, -1), (1, 2), (-3, -2), (2, 2)):
        arguments = (("start_dim", start), ("end_dim", end))
        yield ExactLayerCheck("Flatten", arguments, (image,), ("random",))
    yield ExactLayerCheck("Flatten", (), (image, DEEP), ("random",))
