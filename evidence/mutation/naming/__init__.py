"""How often is a mutant's mistake named rightly? `handgrad mutate --causes`.

Each mutant is run in lockstep in a small network; the cause that the report would show is held
against what the edit of the syntax tree says the mistake is (`expected`).
"""
