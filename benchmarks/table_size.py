"""Tables of more and more rows: seconds and memory from Parquet shards to rows that a flow trains on, and batches of them.

Twenty columns, fourteen of numbers, four of counts, one of words and one of truth values, in ten shards. Each case is a process.
"""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from benchmarks.harness import child, main
from benchmarks.rows import Pivot, Row

NUM_SHARDS, BATCH_SIZE, NUM_BATCHES = 10, 1024, 300
PREPARE = """
import json, resource, sys, time
from pipeline.data import rows
from pipeline.data.tables import kept
from pipeline.data.tables.passes.asked import Asked
from pipeline.data.tables.preparing import prepared
from pipeline.data.tables.passes.shards import shards_at
began, before = time.perf_counter(), time.process_time()
made = prepared(shards_at(sys.argv[1], "table"), Asked(), "table")
kept.write(rows.name_of(made), made, sys.argv[2])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
print(json.dumps([time.perf_counter() - began, time.process_time() - before, peak, rows.name_of(made)]))
"""
TRAIN = """
import json, resource, sys, time
from pipeline.data.source import At
from pipeline.data.tables import kept
began = time.perf_counter()
rows = kept.read(sys.argv[1], sys.argv[2])
opened = time.perf_counter()
n, steps = int(sys.argv[3]), int(sys.argv[4])
for step in range(steps):
    rows.batch(At("target", 0, 0, step, n, slice(0, n)))
print(json.dumps([opened - began, n * steps / (time.perf_counter() - opened)]))
"""


def cases(quick: bool) -> list[Row]:
    """List the cases: numbers of rows."""
    return [{"num_rows": n, "seed": 0} for n in ((20_000,) if quick else (100_000, 1_000_000, 10_000_000))]


def measure(case: Row) -> Iterator[Row]:
    """Prepare a table in one process, draw batches of it in another, and yield the row of the case."""
    with tempfile.TemporaryDirectory(prefix="sjko-table-") as folder:
        shards, place = Path(folder) / "shards", Path(folder) / "place"
        shards.mkdir()
        for shard in range(NUM_SHARDS):
            parquet.write_table(table(case["num_rows"] // NUM_SHARDS, case["seed"], shard), shards / f"part-{shard}.parquet")
        seconds, cpu_seconds, peak, name = json.loads(child(["-c", PREPARE, str(shards), str(place)], {}).splitlines()[-1])
        sizes = [str(BATCH_SIZE), str(NUM_BATCHES)]
        opened, per_second = json.loads(child(["-c", TRAIN, name, str(place), *sizes], {}).splitlines()[-1])
    yield {
        "rows_per_second": case["num_rows"] / seconds,
        "peak_mib": peak,
        "seconds_to_open": opened,
        "batch_rows_per_second": per_second,
        "cpu_seconds": cpu_seconds,
    }


def table(n: int, seed: int, shard: int) -> pa.Table:
    """Make a shard of n rows."""
    rng = np.random.default_rng((seed, shard))
    numbers = {f"x{i}": (rng.standard_normal(n) * (1 + i) + 5 * (rng.random(n) < 0.3)).astype(np.float32) for i in range(14)}
    counts = {f"n{i}": rng.poisson(3 + i, n).astype(np.int32) for i in range(4)}
    return pa.table({**numbers, **counts, "kind": np.array(list("abcd"))[rng.integers(4, size=n)], "flag": rng.random(n) < 0.2})


PIVOTS = [
    Pivot((), "num_rows", ("rows_per_second",), "rows per second from Parquet to rows that are kept"),
    Pivot((), "num_rows", ("peak_mib",), "peak memory of that, MiB"),
    Pivot((), "num_rows", ("batch_rows_per_second",), "rows per second in batches of 1,024"),
]

if __name__ == "__main__":
    main("table_size", __doc__, cases=cases, measure=measure, pivots=PIVOTS, processes=1)
