"""`python -m compare …` is `handgrad …`."""

from compare.cli import main

main()
