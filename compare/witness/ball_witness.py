"""A certificate as a witness's word on anybody's pair of functions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from compare.witness.certify import certify
from compare.witness.decisions import BranchPointError
from compare.witness.pairs import Backward, Forward, Inputs
from compare.witness.testimony import Testimony

FLOAT_DIGITS = 12  # what code with constants of float64 can be held to


@dataclass(frozen=True)
class BallTestimony(Testimony):
    """A certificate as a witness's word."""

    digits: float = 0.0
    radius: float = math.inf


def ball_witness(
    forward: Forward,
    backward: Backward,
    inputs: Inputs,
    *,
    digits: float = FLOAT_DIGITS,
    **settings: Any,
) -> BallTestimony:
    """Say what `certify` proves; inconclusive where balls cannot pass the code.

    Fewer digits are asked for than of a certificate: other people's code holds constants, such as
    np.sqrt(2 * np.pi), that are rounded to float64 before any ball meets them.

    Raises:
        UserError: python-flint is missing.
    """
    try:
        proven = certify(forward, backward, inputs, digits=digits, **settings)
    except BranchPointError as reason:
        return BallTestimony(True, f"balls: {reason}", conclusive=False)
    except (TypeError, AttributeError) as reason:
        return BallTestimony(True, f"balls cannot pass this code: {reason}", conclusive=False)
    if proven.certified:
        what = "every element agrees" if proven.elementwise else "random directions agree"
        agreed = f"balls: {what} to {proven.digits:.0f} digits"
        return BallTestimony(True, agreed, True, proven.digits, proven.radius)
    wrong = any(t.worst for t in proven.tensors)
    evidence = f"balls: {proven.note} ({proven.digits:.1f} digits agree)"
    return BallTestimony(not wrong, evidence, wrong, proven.digits, proven.radius)
