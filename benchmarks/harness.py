"""What all benchmarks share: cases run one per core, the command line, JSON.

A *case* names what is measured (`{"measure": "moons", "method": "otm", "seed": 0}`) and runs in a process of its own with one
thread; it gives one or more *rows*, flat dictionaries that hold the case and its figures.
"""

import argparse
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress

from benchmarks.rows import Pivot, Row, in_order, matches
from pipeline import places
from pipeline.files import write_json
from pipeline.provenance import machine

NUM_THREADS = 1
ROOT = Path(__file__).resolve().parents[1]


def use_one_thread() -> None:
    """Give this process one thread, so that CPU-seconds are comparable."""
    torch.set_num_threads(NUM_THREADS)


def rows_of_case(measure: Callable[[Row], Iterable[Row]], case: Row) -> list[Row]:
    """Measure a case in a worker's process, and add its fields to each of its rows."""
    return [case | row for row in measure(case)]


def run(
    cases: Sequence[Row], measure: Callable[[Row], Iterable[Row]], processes: int, keep: Callable[[list[Row]], None]
) -> tuple[list[Row], list[str]]:
    """Measure all cases, each in a new process; return the rows in the order of their cases, and a line per failed case.

    Args:
        keep: is given all rows so far after each case: who interrupts a run of hours keeps what it has found.
    """
    rows: dict[int, list[Row]] = {}
    failures: list[str] = []
    spawn = get_context("spawn")
    with (
        ProcessPoolExecutor(processes, mp_context=spawn, initializer=use_one_thread, max_tasks_per_child=1) as pool,
        Progress(console=errors()) as progress,
    ):
        task = progress.add_task("cases", total=len(cases))
        futures = {pool.submit(rows_of_case, measure, case): number for number, case in enumerate(cases)}
        try:
            for future in as_completed(futures):
                number = futures[future]
                try:
                    rows[number] = future.result()
                except Exception as error:  # whatever it is, the other cases keep their rows
                    failures.append(f"{cases[number]}: {type(error).__name__}: {error}")
                keep(in_order(rows))
                progress.advance(task)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return in_order(rows), failures


def errors() -> Console:
    """Make the console of progress and failures: stderr, since tables go to stdout."""
    return Console(stderr=True)


def file(argument: str) -> Path:
    """Read the argument of `--json`: a file to write, as an absolute path.

    Raises:
        ArgumentTypeError: the file could not be written.
    """
    try:
        path = places.path("FILE", argument)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"must be a file in an existing folder, not {argument}")
    return path


def pair(argument: str) -> tuple[str, str]:
    """Split the argument of `--only`, FIELD=VALUE.

    >>> pair("d=2")
    ('d', '2')
    """
    name, equals, value = argument.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"must be FIELD=VALUE, not {argument}")
    return name, value


def main(
    name: str,
    purpose: str,
    *,
    cases: Callable[[bool], list[Row]],
    measure: Callable[[Row], Iterable[Row]],
    pivots: Sequence[Pivot],
    processes: int | None = None,
) -> None:
    """Run the command line of one benchmark: measure its cases, write the JSON, print its tables.

    Args:
        purpose: the benchmark's docstring, which `--help` shows.
        cases: lists what to measure; its argument says whether the run is a quick one.
        measure: yields the rows of a case, in a process of its own.
        processes: number of cases that are measured side by side; None: one per core; 1 where wall time is measured.
    """
    parser = argparse.ArgumentParser(f"python -m benchmarks.{name}", description=purpose)
    parser.add_argument("--json", type=file, metavar="FILE", help="write every row there")
    parser.add_argument("--quick", action="store_true", help="fewer seeds and smaller budgets: within a minute")
    parser.add_argument("--only", type=pair, action="append", default=[], metavar="FIELD=VALUE", help="filter; repeatable")
    arguments = parser.parse_args()
    every = cases(arguments.quick)
    todo = [case for case in every if matches(case, arguments.only)]
    if not todo:
        parser.error(f"no case has {' '.join('='.join(pair) for pair in arguments.only)}")
    fields = {name for case in every for name in case} | {name for pivot in pivots for name in pivot.names}
    for field, _ in arguments.only:
        if field not in fields:
            parser.error(f"--only must name one of {', '.join(sorted(fields))}, not {field}")
    conditions = circumstances()  # before the run: what is committed meanwhile made none of its figures

    def keep(rows: list[Row]) -> None:
        if arguments.json:
            kept = [row for row in rows if matches(row, arguments.only)]
            write_json(arguments.json, {"benchmark": name, **conditions, "rows": kept})

    rows, failures = run(todo, measure, processes or os.cpu_count() or 1, keep)
    rows = [row for row in rows if matches(row, arguments.only)]
    console = Console(width=None if sys.stdout.isatty() else 240)
    for pivot in pivots:
        console.print(pivot.table([row for row in rows if all(name in row for name in pivot.index)]))
    for failure in failures:
        errors().print(f"failed: {failure}", style="red", markup=False, highlight=False)
    if failures:
        sys.exit(1)


def child(arguments: Sequence[str], environment: Mapping[str, str]) -> str:
    """Run Python with these arguments in a process of its own, and return what it prints to stdout.

    Raises:
        RuntimeError: the process failed; the error is the end of its stderr.
    """
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return done.stdout


def cpu_seconds_of_children() -> float:
    """Add up the CPU-seconds of all child processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def circumstances() -> Row:
    """Describe where and with what the figures are made: commit, machine, threads."""
    git = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False)
    return {"commit": git.stdout.strip(), "machine": machine(), "threads": NUM_THREADS}
