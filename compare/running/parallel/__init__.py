"""A run on several workers: the hand-written ones in one graph, torch's each in a process."""
