"""Known confusions of whole methods, written as what stands in the source and what is meant.

Each recipe names an expression of the source (as `ast.unparse` prints it) and its replacement. It
is planted in every function that holds all of its expressions; a test demands that none is idle.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from evidence.mutation.operators.base import Found, operator, rewrites
from evidence.mutation.scope import Scope
from evidence.mutation.tree import Edit, Edits, Place, expression, statement

operator("epsilon", "eps inside the root instead of outside, or added instead of a lower bound")
operator("method", "an optimiser mixed up with a relative: momentum, bias correction, weight decay")

RECIPES: dict[str, dict[str, str]] = {
    "v = μ v + lr g": {
        "self._buffer(g, state)": "self._buffer(g * lr, state)",
        "_descend(param, b, lr)": "_descend(param, b, 1.0)",
    },
    "Nesterov without the look ahead": {"self.nesterov": "False"},
    "Nesterov looks ahead from the old buffer": {
        "b * self.momentum": "state.get('momentum_buffer', b) * self.momentum"
    },
    "the first buffer is dampened": {"g.copy()": "g * (1 - self.dampening)"},
    "momentum gathers steps, not quotients": {
        "np.multiply(b, -lr, out=out.get('param'))": "-b",
        "np.divide(g, root, out=out.get('momentum_buffer'))": "g * lr / root",
    },
    "no bias correction of the mean": {"1 - betas[0] ** t": "1"},
    "no bias correction of the mean square": {"1 - betas[1] ** t": "1"},
    "no bias correction of the root alone": {"-lr * c": "-lr"},
    "bias correction by the step before": {"betas[0] ** t": "betas[0] ** (t - 1)"},
    "amsgrad keeps no maximum": {
        "np.maximum(v, state.get('max_exp_avg_sq', 0.0), out=out.get('max_exp_avg_sq'))": "v"
    },
    "decay is left out of an adaptive step": {"self.shrunk(param, lr)": "param"},
    "decay goes through the averages": {
        "self.direction(param, grad)": "grad + self.weight_decay * param",
        "self.shrunk(param, lr)": "param",
    },
    "decay that the rate does not scale": {"lr * self.weight_decay": "self.weight_decay"},
    "decay of the gradient alone": {"decayed += g": "decayed = g - decayed"},
    "centered: the mean is not squared": {"m * m": "m"},
    "the rate decays one step early": {"t - 1": "t"},
    "each gradient clipped by its own norm": {
        "grad * factor": "grad * np.minimum(max_norm / (_joint_norm([grad]) + 1e-6), 1.0)"
    },
    "gradients are always scaled to the norm": {
        "np.minimum(max_norm / (norm + 1e-06), 1.0)": "max_norm / (norm + 1e-06)"
    },
    "the norm of the norms is their sum": {
        "scale * np.sqrt(sum((_squared((grad / scale).reshape(-1)) for grad in grads)))":
            "scale * sum((np.sqrt(_squared((grad / scale).reshape(-1))) for grad in grads))"
    },
}  # fmt: skip


@rewrites("method")
def confuse(scope: Scope) -> Iterator[Found]:
    held = texts(scope)
    for recipe in RECIPES.values():
        yield from planted(held, recipe)


Held = dict[str, list[tuple[Place, ast.expr | ast.AugAssign]]]


def texts(scope: Scope) -> Held:
    """Return where each expression of a scope stands, by its text."""
    held: Held = defaultdict(list)
    for place, node in scope.places():
        if isinstance(node, ast.expr | ast.AugAssign):
            held[ast.unparse(node)].append((place, node))
    return held


def planted(held: Held, recipe: dict[str, str]) -> Iterator[Found]:
    """Yield the recipe's edits if all of its expressions are held."""
    if recipe.keys() - held.keys():
        return
    edits: Edits = ()
    for text in recipe:
        edits += tuple(Edit(place, _parsed(recipe[text], node)) for place, node in held[text])
    yield min(e.place.node.lineno for e in edits), edits


def _parsed(text: str, node: ast.AST) -> ast.AST:
    return statement(text) if isinstance(node, ast.stmt) else expression(text)


@rewrites("epsilon")
def inside_the_root(scope: Scope) -> Iterator[Found]:
    """r = √v; r += ε   ->   r = √(v + ε)."""
    for owner, field, block in scope.blocks():
        for i, (root, add) in enumerate(pairwise(block)):
            if not (isinstance(root, ast.Assign) and isinstance(add, ast.AugAssign)):
                continue
            if "sqrt(" not in ast.unparse(root.value) or not isinstance(root.value, ast.Call):
                continue
            if ast.unparse(root.targets[0]) != ast.unparse(add.target):
                continue
            inner = ast.BinOp(root.value.args[0], ast.Add(), add.value)
            call = ast.Call(root.value.func, [inner], [])
            yield (
                add.lineno,
                (
                    Edit(Place(owner, field, i), ast.Assign(root.targets, call)),
                    Edit(Place(owner, field, i + 1), ast.Pass()),
                ),
            )


@rewrites("epsilon")
def added_for_bound(scope: Scope) -> Iterator[Found]:
    """max(x, ε) -> x + ε, where ε is a constant of the module."""
    for place, node in scope.places():
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "np.maximum":
            x, bound = node.args
            if isinstance(bound, ast.Name) and bound.id.isupper():
                yield node.lineno, (Edit(place, ast.BinOp(x, ast.Add(), bound)),)
