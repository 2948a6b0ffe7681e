"""What is to be compared: configurations, presets, data, weights, and what they name."""
