"""A network that reads digits row by row, with what an LSTM drops between its layers."""

from __future__ import annotations

DIGITS_BY_ROWS = """
[data]
dataset = "digits"
scale = "minmax"
[[layers]]
name = "rows"
type = "Unflatten"
dim = 1
unflattened_size = [8, 8]
[[layers]]
name = "lstm"
type = "LSTM"
input_size = 8
hidden_size = 6
num_layers = 2
dropout = 0.25
batch_first = true
[[layers]]
name = "last"
type = "Select"
dim = 0
index = -1
inputs = ["lstm:h_n"]
"""
