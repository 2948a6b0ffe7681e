"""How often is a wrong derivation named rightly? `python -m evidence.derivations.count`.

`pairs.py` and `pairs_of_functions.py` hold right pairs as people write them, `mistakes.toml` what
they get wrong, `count.py` the count.
"""
