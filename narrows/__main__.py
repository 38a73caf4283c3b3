"""``python -m narrows``: the command line."""

import sys

from narrows.cli.main import command

if __name__ == "__main__":
    sys.exit(command())
