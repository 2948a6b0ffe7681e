"""What is known of an object's own parameters beside their numbers, and how a reader is told."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from compare.pair.parameters import Place, named_gradient

NO_GRAD = "name {name} in no_grad (on the command line --no-grad {name})."
OTHER = (
    "{who} writes {place}, which has the shape of the object's {name} and is not its gradient. If "
    "it is meant to be, call it {gradient} to see what is wrong; if it is something else, "
) + NO_GRAD
UNGIVEN = (
    "{who} returns gradients of parameters, and none of {name}. If {name} is to have none, "
) + NO_GRAD.replace("name {name}", "name it", 1)
NO_GRADIENT = (
    "{who} changes {name} by something that does not double with the upstream gradient, so by no "
    "gradient (Adam, weight decay, clipping?). Keep the gradient itself in {gradient} to have it "
    "checked, or "
) + NO_GRAD
NO_RATE = (
    "{who} changes {name} at a learning rate that cannot be seen. Keep it in self.lr to have the "
    "gradient checked."
)

SHOWN = 5  # names in a sentence


@dataclass(frozen=True)
class Known:
    """What is known of an object's parameters, by their names.

    Attributes:
        uncovered: what is not checked, in sentences.
        places: where backward leaves gradients under names of its own.
        others: what else it leaves that is as large as an array without a gradient.
        otherwise: how it updates arrays of which nothing is a gradient: NO_GRADIENT or NO_RATE.
        unused: arrays that forward does not depend on.
        ungiven: inputs of which no gradient is returned, though some are by name.
    """

    uncovered: tuple[str, ...] = ()
    places: Mapping[str, Place] = field(default_factory=dict)
    others: Mapping[str, Place] = field(default_factory=dict)
    otherwise: Mapping[str, str] = field(default_factory=dict)
    unused: Collection[str] = ()
    ungiven: Collection[str] = ()

    def asked(self, who: str) -> str:
        """Ask about what leaves open whether a gradient is meant."""
        told = [
            OTHER.format(who=who, name=name, place=place.text, gradient=named_gradient(name))
            for name, place in self.others.items()
        ]
        told += [UNGIVEN.format(who=who, name=name) for name in self.ungiven]
        told += [
            how.format(who=who, name=name, gradient=named_gradient(name))
            for name, how in sorted(self.otherwise.items())
        ]
        return " ".join(told)

    def notes(self) -> list[str]:
        """Say what is not checked, and where gradients are under names of their own."""
        return [*self.uncovered] + [
            f"The gradient of {name} was taken from {place.text}."
            for name, place in self.places.items()
        ]


def first_few(names: Collection[str]) -> str:
    """Return the first few names."""
    more = len(names) - SHOWN
    return ", ".join([*names][:SHOWN]) + (f" and {more} more" if more > 0 else "")
