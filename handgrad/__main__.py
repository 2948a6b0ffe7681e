"""`python -m compare …` is `handgrad …`."""

from handgrad.cli import main

main()
