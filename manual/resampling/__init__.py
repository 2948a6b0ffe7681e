"""Resampling: more or fewer places, or channels made into places."""
