"""The first disagreement of a check: its cause, its smallest case, the replay script."""
