"""The argument `inplace`, which torch's pointwise layers have and no layer here can follow."""

from __future__ import annotations

from manual.layer import Layer


class InPlace(Layer):
    """A layer that torch can also run in place.

    Args:
        inplace: False. In place, values and gradients are the same, and the input is lost: what
            else reads it would read the output.

    Raises:
        ValueError: `inplace` is set.
    """

    def __init__(self, inplace: bool = False) -> None:
        if inplace:
            raise ValueError(
                f"{type(self).__name__}: inplace=True would write the output over the input, and "
                "no layer here changes what it is given. Leave it out: the values and gradients "
                "are the same."
            )
