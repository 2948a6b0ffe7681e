"""Moments: training steps in lockstep, cases, kinks, drift."""
