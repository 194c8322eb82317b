"""`python -m deploy`."""

from pipeline.command.program import start

if __name__ == "__main__":
    start("deploy.cli")
