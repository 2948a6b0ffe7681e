"""What the norms of channels compute, in the index language, for any number of axes behind them."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["batch_equations", "group_equations", "instance_equations"]

OWN = ("", "l", "h,w", "d,h,w")  # the indices of an element behind n and c, by their number
OTHER = ("", "i", "i,j", "i,j,k")  # those that a sum runs over


def _all(what: str, axes: int, of: Callable[[str], str], first: str = "") -> str:
    """Return the sum or mean over all places, and before them over `first`."""
    letters = [*first.split(), *filter(None, OTHER[axes].split(","))]
    text = of(f",{OTHER[axes]}" if axes else "")
    for letter in reversed(letters):
        text = f"{what}({letter}, {text})"
    return text


def _normed(axes: int, where: str, of: str) -> str:
    at = f"n,c,{OWN[axes]}".rstrip(",")
    text = f"\nwhere xhat[{at}] = (x[{at}] - mu[{of}]) / sqrt(v[{of}] + eps)"
    return text + where


def _outputs(axes: int, normed: str, variant: str = "") -> dict[str, str]:
    at = f"n,c,{OWN[axes]}".rstrip(",")
    return {
        _key("output", variant): f"y[{at}] = gamma[c] * xhat[{at}] + beta[c]{normed}",
        _key("output", variant, "no bias"): f"y[{at}] = gamma[c] * xhat[{at}]{normed}",
        _key("output", variant, "no weight"): f"y[{at}] = xhat[{at}]{normed}",
    }


def _grads(axes: int, normed: str, variant: str = "") -> dict[str, str]:
    """Return dγ: dβ does not ask for the statistics."""
    total = _all("sum", axes, lambda at: f"dy[n,c{at}] * xhat[n,c{at}]", "n")
    return {_key("grad:weight", variant): f"dgamma[c] = {total}{normed}"}


def _bias(axes: int) -> str:
    return f"dbeta[c] = {_all('sum', axes, lambda at: f'dy[n,c{at}]', 'n')}"


def _key(role: str, *variants: str) -> str:
    named = ", ".join(filter(None, variants))
    return f"{role}/{named}" if named else role


def _named(found: dict[str, str], variant: str) -> dict[str, str]:
    if not variant:
        return found
    return {f"{key}{', ' if '/' in key else '/'}{variant}": text for key, text in found.items()}


def _running(axes: int) -> dict[str, str]:
    """Return what holds where the running statistics are used."""
    where = "\nwhere mu[c] = running_mean[c]\nwhere v[c] = running_var[c]"
    normed, at = _normed(axes, where, "c"), f"n,c,{OWN[axes]}".rstrip(",")
    name = "running statistics"
    slope = "sqrt(v[c] + eps)\nwhere v[c] = running_var[c]"
    return {
        **_outputs(axes, normed, name),
        **_grads(axes, normed, name),
        f"grad_input/{name}": f"dx[{at}] = dy[{at}] * gamma[c] / {slope}",
        f"grad_input/{name}, no weight": f"dx[{at}] = dy[{at}] / {slope}",
    }


def _statistics(axes: int, of: str, first: str, at_: str) -> str:
    """Return μ and σ² over all places."""
    mean = _all("mean", axes, lambda at: f"x[{at_}{at}]", first)
    var = _all("mean", axes, lambda at: f"(x[{at_}{at}] - mu[{of}])**2", first)
    return f"\nwhere mu[{of}] = {mean}\nwhere v[{of}] = {var}"


def _of_own(axes: int, of: str, first: str, at_: str) -> dict[str, str]:
    """Return what holds where μ and σ² are the input's own."""
    normed, at = (
        _normed(axes, _statistics(axes, of, first, at_), of),
        f"n,c,{OWN[axes]}".rstrip(","),
    )
    p = _all("mean", axes, lambda a: f"dy[{at_}{a}]", first)
    q = _all("mean", axes, lambda a: f"dy[{at_}{a}] * xhat[{at_}{a}]", first)
    pulled = f"(dy[{at}] - p[{of}] - xhat[{at}] * q[{of}]) / sqrt(v[{of}] + eps)"
    means = f"\nwhere p[{of}] = {p}\nwhere q[{of}] = {q}"
    return {
        **_outputs(axes, normed),
        **_grads(axes, normed),
        "grad_input": f"dx[{at}] = gamma[c] * {pulled}{means}{normed}",
        "grad_input/no weight": f"dx[{at}] = {pulled}{means}{normed}",
        "grad:bias": _bias(axes),
    }


def batch_equations(axes: int, variant: str = "") -> dict[str, str]:
    """Return batch normalisation's equations for so many axes behind the channels."""
    return _named(_of_own(axes, "c", "m", "m,c") | _running(axes), variant)


def instance_equations(axes: int) -> dict[str, str]:
    """Return instance normalisation's equations."""
    return _of_own(axes, "n,c", "", "n,c") | _running(axes)


def group_equations(axes: int, variant: str = "") -> dict[str, str]:
    """Return group normalisation's equations; a group holds D channels."""
    at = f"n,c,{OWN[axes]}".rstrip(",")

    def mean(of: Callable[[str], str]) -> str:
        return f"mean(e, 0 <= e < D, {_all('mean', axes, lambda a: of(f'n,g * D + e{a}'))})"

    normed = (
        f"\nwhere xhat[{at}] = (x[{at}] - mu[n,c // D]) / sqrt(v[n,c // D] + eps)"
        f"\nwhere mu[n,g] = {mean(lambda a: f'x[{a}]')}"
        f"\nwhere v[n,g] = {mean(lambda a: f'(x[{a}] - mu[n,g])**2')}"
    )
    pulled = (
        f"dx[{at}] = (g[{at}] - p[n,c // D] - xhat[{at}] * q[n,c // D]) / sqrt(v[n,c // D] + eps)"
        f"\nwhere p[n,g] = {mean(lambda a: f'g[{a}]')}"
        f"\nwhere q[n,g] = {mean(lambda a: f'g[{a}] * xhat[{a}]')}"
    )
    found = {
        **_outputs(axes, normed),
        **_grads(axes, normed),
        "grad_input": f"{pulled}\nwhere g[{at}] = gamma[c] * dy[{at}]{normed}",
        "grad_input/no weight": f"{pulled}\nwhere g[{at}] = dy[{at}]{normed}",
        "grad:bias": _bias(axes),
    }
    return _named(found, variant)
