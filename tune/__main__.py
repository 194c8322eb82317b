"""python -m tune ..."""

from pipeline.command.process import start

if __name__ == "__main__":
    start("tune.cli")
