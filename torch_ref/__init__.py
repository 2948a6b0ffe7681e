"""The torch side: stock torch.nn modules, losses and optimisers, with taps on every node."""
