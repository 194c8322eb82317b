"""python -m tune ..."""

from pipeline.program import start

if __name__ == "__main__":
    start("tune.cli")
