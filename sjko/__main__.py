"""`sjko` and `python -m sjko …`: the commands of all three programs under one name."""

import os
import sys

from pipeline.command.process import start


def run() -> None:
    """Run the console script; parts of one's own are imported from the current folder, as with `python -m`."""
    if not sys.flags.safe_path:
        sys.path.insert(0, os.getcwd())
    start("sjko.command")


if __name__ == "__main__":
    run()
