"""``python -m cosim``: the same as the console script ``cosim``."""

from cosim.cli import main

main()
