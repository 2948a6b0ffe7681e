"""What is compared, how a difference is judged, and the ledger of what was."""
