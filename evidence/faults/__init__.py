"""What the command line makes of nonsense: no traceback, no hang, no half-written report.

`configurations`, `files` and `lines` make cases from a seed, `attempt` runs one in a process of its
own, `hunt` says what was wrong, and `kills` ends runs at random moments.
"""
