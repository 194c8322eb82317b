"""`python -m deploy`."""

from pipeline.program import start

if __name__ == "__main__":
    start("deploy.cli")
