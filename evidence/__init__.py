"""How good the judge is: mutation score, false alarms, benchmarks. Not shipped in the wheel."""
