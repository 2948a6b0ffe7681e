"""One graded tensor of a submission."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tensor:
    """One graded tensor: `grad:w`, or something else that is wrong, such as `output`.

    `where` says in which cases it is wrong, `cause` what that looks like, `hint` its index form.
    """

    quantity: str
    right: bool
    where: str = ""
    told: str = ""
    cause: str = ""
    kind: str = ""
    hint: str = ""

    @property
    def symbol(self) -> str:
        return f"d{self.quantity[5:]}" if self.quantity[:5] == "grad:" else self.quantity
