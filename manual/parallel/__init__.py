"""Training on several workers, derived by hand: what each computes, and what they exchange.

A step of W workers is one graph: every worker's nodes stand in it under `worker0.`, `worker1.`, …,
with a copy of the parameters for each. Where workers exchange something in the middle of a pass
(SyncBatchNorm, a split Linear), a node takes its inputs from several of them, and their gradients
meet where gradients always meet: they add. What is exchanged after the pass (`reduction`, `zero`)
is a function of lists, one entry per worker.
"""
