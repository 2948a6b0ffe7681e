"""What stands for a call of a torch function: tables of builders by torch's name."""

from __future__ import annotations

from compare.pair.mirror.call import Builder
from compare.pair.mirror.functions import (
    elementwise,
    indexing,
    layers,
    linear_algebra,
    losses,
    pools,
    products,
    reductions,
    resampling,
    sequences,
    shapes,
    special,
)

FUNCTIONS: dict[str, Builder] = {
    **shapes.TABLE,
    **indexing.TABLE,
    **products.TABLE,
    **layers.TABLE,
    **pools.TABLE,
    **resampling.TABLE,
    **losses.TABLE,
    **linear_algebra.TABLE,
    **elementwise.TABLE,
    **reductions.TABLE,
    **special.TABLE,
    **sequences.TABLE,
}
