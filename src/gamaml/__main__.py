"""`python -m gamaml` is the command `gamaml`."""

import sys

from gamaml.cli import main

if __name__ == "__main__":
    sys.exit(main())
