"""Check anyone's hand-derived gradient: `compare.check`, `compare.check_torch`, `handgrad check`."""
