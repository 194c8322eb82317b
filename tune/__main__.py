"""python -m tune ..."""

from pipeline.command.program import start

if __name__ == "__main__":
    start("tune.cli")
