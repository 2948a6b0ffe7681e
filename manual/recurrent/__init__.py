"""Layers that walk along a sequence and remember: RNN, LSTM, GRU and their cells."""

from __future__ import annotations

from manual.recurrent.gru import GRU
from manual.recurrent.gru_cell import GRUCell
from manual.recurrent.lstm import LSTM
from manual.recurrent.lstm_cell import LSTMCell
from manual.recurrent.rnn import RNN
from manual.recurrent.rnn_cell import RNNCell

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNCell"]
