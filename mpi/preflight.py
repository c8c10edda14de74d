"""`gamaml preflight` for launch lines that name a file: mpi/launch -n 4 mpi/preflight.py CONFIG.toml --out runs."""

import sys

from gamaml.cli import main

if __name__ == "__main__":
    sys.exit(main(["preflight", *sys.argv[1:]]))
