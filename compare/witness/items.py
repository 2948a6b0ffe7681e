"""Everything that is certified: layers, gates, losses, penalties, optimisers; small shapes.

A setting that enters in two ways (ε and 1 - ε) is a sum of powers of two, so that the code's own
float constants are exact. Optimisers get theirs as balls.
"""

from __future__ import annotations

from collections.abc import Sequence

from compare.errors import UserError, nearest
from compare.witness.cases import Item
from compare.witness.gate_items import gates
from compare.witness.layer_items import activations, layers, networks, normalised, penalties
from compare.witness.loss_items import losses
from compare.witness.optimizer_items import optimizers


def items() -> list[Item]:
    """Return all items, in the order of the table."""
    families = (layers, networks, activations, normalised, gates, losses, penalties, optimizers)
    return [item for family in families for item in family()]


def chosen(names: Sequence[str]) -> list[Item]:
    """Return the items of these classes; of all of them if none is named.

    Raises:
        UserError: a name that no item has.
    """
    found = items()
    groups = list(dict.fromkeys(item.group for item in found))
    for name in names:
        if name not in groups:
            raise UserError(f"Nothing to certify is called '{name}'. {nearest(name, groups)}")
    return [item for item in found if not names or item.group in names]
