"""How often is a wrong derivation named rightly? `python -m evidence.derivations.count`.

`pairs_of_layers.py`, `…losses` and `…functions` hold right pairs as people write them, `given.py`
what they are checked with, `mistakes.toml` what people get wrong, `count.py` the count.
"""
