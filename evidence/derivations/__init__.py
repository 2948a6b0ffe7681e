"""How often is a wrong derivation named rightly? `handgrad mutate --derivations`.

`pairs.py` and `pairs_of_networks.py` hold right pairs as people write them, `mistakes.toml` what
they get wrong.
"""
