"""The jobs: run, check, certify, explain; as functions and on the command line."""
