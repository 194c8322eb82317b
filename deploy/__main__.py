"""`python -m deploy`."""

from pipeline.command.process import start

if __name__ == "__main__":
    start("deploy.cli")
