"""Peak memory of a process that trains: against K, against the size of a streamed set, and of a driver of many phases."""

import json
import os
import tempfile
from collections.abc import Iterator

from benchmarks.harness import child, cpu_seconds_of_children, main
from benchmarks.rows import Pivot, Row

MEBIBYTE = 2**20
FLOW = """
import json, resource, sys
from pipeline import cluster as clusters
from pipeline.cluster import Cluster
from pipeline.data.resolution import resolve
from pipeline.training.flow import run_flow
from pipeline.training.group import Unwatched
from pipeline.recipe import Data, Jko, Network, Recipe, Training
from pipeline.store.phases import Store
case = json.loads(sys.argv[1])
image = case.get("images")
recipe = Recipe(
    data=Data(target="image_folder", size=32, streamed=True, digest=case["digest"], standardise=False) if image else Data(),
    network=Network(kind="light", width=16, num_frequencies=0) if image else Network(),
    jko=Jko(num_phases=case["num_phases"], cost="mean_squared" if image else "squared"),
    training=Training(num_steps=case["num_steps"], batch_size=64),
)
store, cluster = Store(clusters.tracking_uri(Cluster())), Cluster(data=case.get("data"))
first = None
for result in run_flow(resolve(recipe, cluster), name="memory", store=store, cluster=cluster, observer=Unwatched()):
    now = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    first = first or now
print(json.dumps([first, now]))
"""


def cases(quick: bool) -> list[Row]:
    """List the cases: flows of more and more phases, and streamed sets of more and more images."""
    phases = (2, 4) if quick else (2, 10, 50, 200)
    images = (500, 1000) if quick else (2_000, 20_000, 250_000)
    return [
        *({"what": "K", "size": k, "seed": 0} for k in phases),
        *({"what": "streamed images", "size": n, "seed": 0} for n in images),
    ]


def measure(case: Row) -> Iterator[Row]:
    """Train in one process per row; yield its peak memory in MiB, and how much that grew after the first phase."""
    began = cpu_seconds_of_children()
    with tempfile.TemporaryDirectory(prefix="sjko-memory-") as home:
        settings = {"num_phases": case["size"], "num_steps": 5}
        if case["what"] != "K":  # an epoch of the streamed set in each of two phases
            settings = {"num_phases": 2, "num_steps": case["size"] // 128, "images": True, **streamed_set(home, case["size"])}
        printed = child(["-c", FLOW, json.dumps(settings)], {"SJKO_HOME": home, "OMP_NUM_THREADS": "1"})
        first, last = json.loads(printed.splitlines()[-1])
    yield {
        "peak_mib": last / MEBIBYTE,
        "growth_mib": (last - first) / MEBIBYTE,
        "cpu_seconds": cpu_seconds_of_children() - began,
    }


def streamed_set(home: str, n: int) -> dict[str, str]:
    """Write n PNG files of noise and prepare them; return where the prepared set is, and its digest."""
    import numpy as np
    from PIL import Image

    folder, rng = os.path.join(home, "pictures"), np.random.default_rng(0)
    os.makedirs(folder)
    for i in range(n):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(
            os.path.join(folder, f"{i:06d}.png"), compress_level=0
        )
    out = os.path.join(home, "prepared.json")
    flags = ["--from", folder, "--to", f"{home}/data", "--size", "32", "--json", out]
    child(["-m", "pipeline", "prepare", "image_folder", *flags], {})
    with open(out) as file:
        return {"data": f"{home}/data", "digest": json.load(file)["digest"]}


PIVOTS = [
    Pivot(
        ("what", "size"),
        None,
        ("peak_mib", "growth_mib"),
        "peak MiB of a process, and its growth after the first phase; goal: flat",
    )
]

if __name__ == "__main__":
    main("memory", __doc__, cases=cases, measure=measure, pivots=PIVOTS, processes=1)
