"""How long a person waits: `--help`, a dry run, and a flow of 50 phases that is wholly in the store, beyond its imports."""

import tempfile
import time
from collections.abc import Iterator

from benchmarks.harness import child, cpu_seconds_of_children, main
from benchmarks.rows import Pivot, Row

SHORT = ["--network.width", "8", "--training.num-steps", "2", "--training.batch-size", "16", "--jko.num-phases"]
IMPORTS = "import pipeline.command.actions"


def cases(quick: bool) -> list[Row]:
    """List the one case: how many phases the flow has, and how often each command is timed."""
    return [{"num_phases": 3 if quick else 50, "rounds": 1 if quick else 5, "seed": 0}]


def measure(case: Row) -> Iterator[Row]:
    """Time each command, and yield its least time over some rounds: whatever else the machine does only adds to it."""
    began = cpu_seconds_of_children()
    with tempfile.TemporaryDirectory(prefix="sjko-start-") as home:
        environment = {"SJKO_HOME": home, "OMP_NUM_THREADS": "1"}
        flow = ["-m", "pipeline", "run", "two_circles", *SHORT, str(case["num_phases"])]

        def seconds(*arguments: str) -> float:
            start = time.perf_counter()
            child(arguments, environment)
            return time.perf_counter() - start

        seconds(*flow)
        ways = {
            "--help": ["-m", "pipeline", "--help"],
            "run --help": ["-m", "pipeline", "run", "--help"],
            "run --dry-run": [*flow, "--dry-run"],
            "imports alone": ["-c", IMPORTS],
            "cached flow": flow,
        }
        least = {name: min(seconds(*arguments) for _ in range(case["rounds"])) for name, arguments in ways.items()}
    least["cached flow, beyond imports"] = least["cached flow"] - least["imports alone"]
    for name, value in least.items():
        yield {"command": name, "wall_seconds": value, "cpu_seconds": cpu_seconds_of_children() - began}


PIVOTS = [Pivot(("command", "num_phases"), None, ("wall_seconds",), "goals: --help 1, --dry-run 5, cached flow beyond imports 3")]

if __name__ == "__main__":
    main("start", __doc__, cases=cases, measure=measure, pivots=PIVOTS, processes=1)
