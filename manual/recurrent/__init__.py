"""Layers that walk along a sequence and remember: LSTM."""

from __future__ import annotations

from manual.recurrent.lstm import LSTM

__all__ = ["LSTM"]
