"""Exit statuses of the commands."""

AGREE, DISAGREE, UNUSABLE, INTERRUPTED = 0, 1, 2, 130
