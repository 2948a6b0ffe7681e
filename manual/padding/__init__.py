"""Padding: an input continued beyond its border."""
