"""What the shell offers when Tab is pressed."""

from __future__ import annotations


def preset_names(incomplete: str) -> list[str]:
    """Return the presets that begin so."""
    from compare.description.presets import presets

    return [name for name in presets() if name.startswith(incomplete)]
