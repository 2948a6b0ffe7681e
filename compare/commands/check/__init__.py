"""Check anyone's hand-derived gradient: `compare.check`, `check_torch`, `handgrad check`."""
