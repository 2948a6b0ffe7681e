"""Where two sides first part, whose mistake it is, and what the mistake looks like."""
