"""Exercises: a forward pass is given, backward is to be derived, and the checker grades it."""
