"""Everything about an accelerator in eight minutes: python -m benchmarks.accelerator --to FOLDER

Needs torch, numpy, scipy, safetensors and jaxtyping; `quality` and `input` also what `pipeline.data` imports (fsspec, pyarrow,
filelock, pillow, pyyaml, rich). No Ray, no MLflow, no network. Takes the first of CUDA, MPS and CPU that is there. Each part has
a limit of time of its own, and accelerator.json and .txt are written anew after each row: a run that is cut keeps what it has.

| part | measures |
|---|---|
| parity | losses and gradients of every network pair and divergence against float64 on the CPU; seeds; a phase cut and resumed |
| step | milliseconds, memory and share of a large matrix product, in several precisions and layouts, beside the textbook's step |
| sampling | images per second of one network evaluation, and of a hundred |
| quality | toys, phase by phase, beside their floor; Fashion-MNIST (--data FOLDER, with its two .gz of images) for a minute |
| input | images per second that are read and moved to the device |
"""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from benchmarks.accelerator_parity import parity
from benchmarks.accelerator_quality import quality, reading
from benchmarks.accelerator_speed import Bench, Row, sampling, step
from pipeline.provenance import commit, machine, processor

PARTS: dict[str, tuple[float, Callable[[Bench], Iterator[Row]]]] = {
    "parity": (80, parity),
    "step": (200, step),
    "sampling": (40, sampling),
    "quality": (130, quality),
    "input": (25, reading),
}
"""Each part's limit in seconds (less than eight minutes together) and the function that measures it."""
WIDEST = 60
"""Most characters of a cell in the text's tables."""


class TimeIsUp(BaseException):
    """The signal that a part has had its time; no handler of ordinary errors catches it."""


@contextmanager
def limit(seconds: float) -> Iterator[None]:
    """Raise TimeIsUp within the context when it has lasted that long."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeIsUp

    previous = signal.signal(signal.SIGALRM, stop)
    alarm = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *alarm)
        signal.signal(signal.SIGALRM, previous)


def device_here() -> torch.device:
    """Choose the fastest kind of device that this machine has."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def circumstances(device: torch.device) -> Row:
    """Describe where and with what the figures are made: commit, device, machine, torch, threads."""
    name = torch.cuda.get_device_name() if device.type == "cuda" else processor()
    return {
        "benchmark": "accelerator",
        "commit": commit(),
        "device": f"{device.type}: {name}",
        "machine": machine(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


def table(rows: Sequence[Row]) -> str:
    """Lay out rows of one part as text, a column for each field that any of them has."""
    names = list(dict.fromkeys(name for row in rows for name in row if name != "part"))
    lines = [names, *([shown(row.get(name)) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(names))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)


def shown(value: Any) -> str:
    """Write a value as a cell, cut after `WIDEST` characters; it stands whole in the JSON."""
    if isinstance(value, float):
        return f"{value:.4g}"
    cell = "" if value is None else str(value)
    return cell if len(cell) <= WIDEST else f"{cell[: WIDEST - 3]}..."


def write(folder: Path, conditions: Row, rows: Sequence[Row]) -> None:
    """Replace accelerator.json and accelerator.txt in a folder by files of all rows so far."""
    parts = dict.fromkeys(row["part"] for row in rows)
    tables = [f"{part}\n{table([row for row in rows if row['part'] == part])}\n" for part in parts]
    head = "\n".join(f"{name}: {value}" for name, value in conditions.items())
    for name, content in (
        ("accelerator.json", json.dumps({**conditions, "rows": rows}, indent=1)),
        ("accelerator.txt", "\n".join([head, "", *tables])),
    ):
        partial = folder / f"{name}.partial"
        partial.write_text(content)
        partial.replace(folder / name)


def run(bench: Bench, names: Sequence[str], keep: Callable[[list[Row]], None]) -> list[Row]:
    """Measure parts one after the other; what fails or runs out of time is a row too, and the next part goes on.

    Args:
        keep: is given all rows so far after each row.
    """
    for name in names:
        seconds, measure = PARTS[name]
        start, failed = time.monotonic(), None
        try:
            with limit(seconds):
                for row in measure(bench):
                    bench.rows.append({"part": name, **row})
                    keep(bench.rows)
        except TimeIsUp:
            failed = f"cut after {seconds:g} s"
        except Exception as error:  # whatever it is, the other parts keep their rows
            failed = f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"
        bench.rows.append({"part": name, "seconds": time.monotonic() - start, "failed": failed})
        keep(bench.rows)
    return bench.rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `python -m benchmarks.accelerator` with an argument vector."""
    description, _, epilog = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        "python -m benchmarks.accelerator", description=description, epilog=epilog, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--to", type=Path, required=True, metavar="FOLDER", help="where accelerator.json and accelerator.txt go")
    parser.add_argument("--quick", action="store_true", help="small networks and few steps: a minute of one CPU core")
    parser.add_argument("--only", action="append", choices=list(PARTS), metavar="PART", help="a part; repeatable")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FOLDER",
        help="with Fashion-MNIST's train-images-idx3-ubyte.gz and t10k-images-idx3-ubyte.gz",
    )
    parsed = parser.parse_args(arguments)
    if parsed.data and not parsed.data.is_dir():
        parser.error(f"--data must be an existing folder, not {parsed.data}")
    if parsed.to.exists() and not parsed.to.is_dir():
        parser.error(f"--to must be a folder, not {parsed.to}")
    parsed.to.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS is not deterministic when asked to be
    if parsed.quick:
        torch.set_num_threads(1)
    bench = Bench(device_here(), quick=parsed.quick, data=parsed.data)
    conditions = circumstances(bench.device)
    rows = run(bench, parsed.only or list(PARTS), lambda rows: write(parsed.to, conditions, rows))
    sys.stdout.write((parsed.to / "accelerator.txt").read_text())
    if any(row.get("failed") and "seconds" in row and not str(row["failed"]).startswith("cut") for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
