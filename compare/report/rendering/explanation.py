"""An explanation as text for a terminal."""

from __future__ import annotations

import shutil
import textwrap
from typing import TYPE_CHECKING, Any

from compare.explaining import format as fmt
from compare.words import _, said

if TYPE_CHECKING:
    from compare.commands.explain import Explanation
    from compare.explaining.source_lines import Listing


def terminal_text(explanation: Explanation) -> str:
    """Return the explanation in plain Unicode."""
    w = explanation.worked
    blocks = [_head(explanation), _equations(w), _code(w.listings), _torch(w), _numbers(w)]
    return "\n\n".join(block for block in blocks if block)


def _head(explanation: Explanation) -> str:
    w = explanation.worked
    at = ",".join(map(str, w.index))
    element = _("element [{at}] of {shape}") if w.index else _("one number")
    worst = ", " + _("the worst of its tensor") if explanation.chosen and w.index else ""
    return (
        _("{name}, step {step}, node {node}: {layer}").format(
            name=explanation.name, step=w.step, node=w.layer, layer=said(explanation.layer)
        )
        + f"\n{w.quantity}, {element.format(at=at, shape=explanation.shape)}{worst}; "
        + _("computed by {by}").format(by=said(w.by) or _("nobody"))
    )


def _equations(w: Any) -> str:
    lines = []
    for formula in w.formulas:
        first, *rest = formula.plain
        lines.append(_("Equation ({title})").format(title=said(formula.title)))
        lines.append(f"  {first}" + (f"      {formula.matrix}" if formula.matrix else ""))
        lines += ["  " + _("with {line}").format(line=line) for line in rest]
        lines += [f"  {name}: {said(text)}" for name, text in formula.means]
    return "\n".join(lines)


def _code(listings: tuple[Listing, ...]) -> str:
    lines = []
    for listing in listings:
        lines.append(f"NumPy: {listing.title} ({listing.file}:{listing.lines[0][0]})")
        lines += [f"{'▸' if on else ' '} {n:4d}  {text}".rstrip() for n, text, on in listing.lines]
    return "\n".join(lines)


def _torch(w: Any) -> str:
    text = f"torch: {said(w.torch_module)}" if w.torch_module else ""
    return text + (f"\n  grad_fn {w.grad_fn}" if w.grad_fn else "")


def _numbers(w: Any) -> str:
    width = max(60, shutil.get_terminal_size((100, 20)).columns)
    lines = [_("Worked with this run's numbers")]
    for line in map(said, w.arithmetic):
        lines += (
            textwrap.wrap(
                line, width, initial_indent="  ", subsequent_indent="      ", drop_whitespace=True
            )
            if len(line) + 2 > width
            else [f"  {line}"]
        )
    used = _("(manual − torch; tolerance {tolerance}, {share} used)")
    used = used.format(tolerance=fmt.short(w.tolerance), share=fmt.budget(w.share))
    facts = {
        _("worked"): w.digits,
        "manual": fmt.exact(w.manual),
        "torch": fmt.exact(w.torch),
        _("difference"): f"{fmt.short(w.difference)}   {used}",
        _("verdict"): _("{verdict} (of the whole tensor)").format(verdict=said(w.verdict)),
    }
    lines.append("")
    lines += [f"  {name:<11} {value}" for name, value in facts.items() if value]
    lines += ["", *textwrap.wrap(said(w.finding), width)]
    return "\n".join(lines)
