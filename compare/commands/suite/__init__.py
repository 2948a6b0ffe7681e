"""Many people's files against one table of references: `handgrad check --all FOLDER`."""
