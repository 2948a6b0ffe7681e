"""What every submission's process needs, imported once before they are started.

Autograd is not run here: its threads would not survive a fork.
"""

import gc
import importlib
import pkgutil

ROOMS = ("judge", "gauge", "pair", "running", "witness", "diagnose", "commands.check")
LATE = ("compare.commands.suite.child", "compare.report.environment", "pandas",
        "torch.fx.experimental.symbolic_shapes", "torch._decomp", "torch._dynamo")  # fmt: skip

for _room in ROOMS:
    _package = importlib.import_module(f"compare.{_room}")
    for _found in pkgutil.walk_packages(_package.__path__, f"compare.{_room}."):
        importlib.import_module(_found.name)
for _name in LATE:
    importlib.import_module(_name)
gc.freeze()  # a forked process need not look through all of this
