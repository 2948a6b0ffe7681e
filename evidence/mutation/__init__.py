"""The mutation score: plant every small mistake people make in a derivation, and count the caught.

`operators` says which mistakes, `sources` where they fit into `manual/`, `battery` what every
mutant must survive beside torch, and `run` does it, in memory and in parallel.
"""
