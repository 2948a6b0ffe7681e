"""Sources of cases for a pair of functions, and their evaluation."""
