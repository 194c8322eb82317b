"""The service through HTTP against the bare forward pass: samples per second, latency, and the same during a promotion.

`python -m deploy serve` with one replica of one CPU and the load from this process, on the same machine: proxy, replica and
clients share its cores. Requests are for 256 samples as .npy. `bare` is the forward pass alone, noise at hand, in one process
with one thread.
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import numpy as np

from benchmarks.flows import shipped
from benchmarks.harness import ROOT, main
from benchmarks.rows import Pivot, Row
from components.streams import stream
from pipeline.generator import Generator

NUM_SAMPLES = 256
NETWORKS, CLIENTS = ("two_circles", "digits", "fashion_mnist"), (1, 8, 64)
START_SECONDS, WARM_UP_SECONDS, PROMOTION_SECONDS = 200.0, 3.0, 14.0


def cases(quick: bool) -> list[Row]:
    """List the cases: each recipe whose network is served."""
    return [{"network": name, "seconds": 2.0 if quick else 15.0, "seed": 0} for name in (NETWORKS[:1] if quick else NETWORKS)]


def measure(case: Row) -> Iterator[Row]:
    """Put one service under growing load, then promote a version under load; yield a row per load."""
    with tempfile.TemporaryDirectory(prefix="sjko-serving-") as home, environment({"SJKO_HOME": home, "OMP_NUM_THREADS": "1"}):
        generator, promote = registered(case["network"])
        bare = forward_seconds(generator)
        with service(Path(home), f"{case['network']}@champion") as url:
            asyncio.run(load(url, 8, WARM_UP_SECONDS))
            for clients in CLIENTS:
                answers, seconds = asyncio.run(load(url, clients, case["seconds"]))
                yield {"clients": clients, "during": "nothing", **figures(answers, seconds, bare)}
            answers, seconds = asyncio.run(load(url, 8, max(case["seconds"], PROMOTION_SECONDS), during=promote))
            yield {"clients": 8, "during": "promotion", **figures(answers, seconds, bare), **promotion(answers)}


@dataclass(frozen=True)
class Answer:
    """One request and its answer.

    Attributes:
        began, seconds: on the clock of `time.monotonic`.
        version: that answered; 0 where the request failed.
    """

    began: float
    seconds: float
    version: int


def registered(name: str) -> tuple[Generator, Callable[[], None]]:
    """Register two versions of a recipe, the first as @champion; return a generator and the call that promotes the second."""
    from deploy.versions.registry import Registry
    from pipeline import cluster as clusters
    from pipeline.cluster import Cluster
    from pipeline.data.resolution import resolve
    from pipeline.generator import load_generator
    from pipeline.store.phases import Store
    from pipeline.training.flow import run_flow
    from pipeline.training.group import Unwatched

    store = Store(clusters.tracking_uri(Cluster()))
    registry = Registry(store)
    recipe = shipped(name)
    versions = []
    for num_steps in (2, 3):
        short = replace(recipe, jko=replace(recipe.jko, num_phases=1), training=replace(recipe.training, num_steps=num_steps))
        *_, last = run_flow(resolve(short, Cluster()), name=name, store=store, cluster=Cluster(), observer=Unwatched())
        versions.append(registry.register(last.ref, name))
    registry.move(versions[0], "champion", {}, "to be served")
    return load_generator(store, last.ref), lambda: registry.move(versions[1], "champion", {}, "to be served")


def forward_seconds(generator: Generator) -> float:
    """Time the forward pass of one request without the service: the median, in seconds."""
    x, z = generator.noise(NUM_SAMPLES, stream(0, "generation_source"), stream(0, "generation_z"))
    times = []
    for _ in range(200):
        began = time.perf_counter()
        generator.push(x, z)
        times.append(time.perf_counter() - began)
    return float(np.median(times))


async def load(url: str, clients: int, seconds: float, during: Callable[[], None] | None = None) -> tuple[list[Answer], float]:
    """Send requests from some clients, each with one in flight; `during` is called in the middle, in a thread."""
    answers: list[Answer] = []
    began = time.monotonic()

    async def client(session: aiohttp.ClientSession, number: int) -> None:
        while (now := time.monotonic()) < began + seconds:
            version = 0
            body = {"num_samples": NUM_SAMPLES, "seed": number, "format": "npy"}
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with session.post(f"{url}/v1/samples", json=body) as response:
                    content = await response.read()
                    version = int(response.headers["X-Version"]) if response.status == 200 and content else 0
            answers.append(Answer(now, time.monotonic() - now, version))

    connector, limit = aiohttp.TCPConnector(limit=clients), aiohttp.ClientTimeout(60)
    async with aiohttp.ClientSession(connector=connector, timeout=limit) as session:
        tasks = [asyncio.create_task(client(session, number)) for number in range(clients)]
        if during is not None:
            await asyncio.sleep(seconds / 2)
            answers.append(Answer(time.monotonic(), 0.0, -1))
            await asyncio.to_thread(during)
        await asyncio.gather(*tasks)
    return answers, time.monotonic() - began


def figures(answers: list[Answer], seconds: float, bare: float) -> Row:
    """Compute throughput and latency of one load; `bare` are the seconds of a forward pass alone."""
    times = 1000 * np.array([answer.seconds for answer in answers if answer.version > 0])
    rate = NUM_SAMPLES * len(times) / seconds
    return {
        "num_samples": NUM_SAMPLES,
        "bare_samples_per_second": NUM_SAMPLES / bare,
        "requests": len(times),
        "failed": sum(answer.version == 0 for answer in answers),
        "samples_per_second": rate,
        "of_bare": rate * bare / NUM_SAMPLES,
        "p50_ms": float(np.median(times)),
        "p99_ms": float(np.quantile(times, 0.99)),
        "worst_ms": float(times.max()),
        "overhead_ms": float(np.median(times)) - 1000 * bare,
    }


def promotion(answers: list[Answer]) -> Row:
    """Compute the seconds from a promotion to the new version's first answer, and the longest time without an answer after it."""
    (moved,) = (answer.began for answer in answers if answer.version == -1)
    new = [answer.began + answer.seconds - moved for answer in answers if answer.version == 2]
    ends = np.sort([answer.began + answer.seconds for answer in answers if answer.version > 0])
    return {"switched_s": min(new, default=float("nan")), "stall_ms": 1000 * float(np.diff(ends[ends > moved - 1]).max())}


@contextlib.contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """Set variables of the environment for the time of the context."""
    previous = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in previous.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


@contextlib.contextmanager
def service(home: Path, model: str) -> Iterator[str]:
    """Run `python -m deploy serve` for the time of the context, and give its URL."""
    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "deploy", "serve", model, "--port", str(port)]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + START_SECONDS
        while b"answers at" not in (home / "log").read_bytes():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the service did not start: {(home / 'log').read_text()[-2000:]}")
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


PIVOTS = [
    Pivot(
        ("network", "clients", "during"),
        None,
        ("samples_per_second", "bare_samples_per_second", "of_bare", "p50_ms", "overhead_ms", "p99_ms", "worst_ms", "failed"),
        "256 samples per request; goals: of_bare >= 0.8 at 64 clients, overhead_ms <= 10 at one, none failed",
    ),
    Pivot(("network",), None, ("switched_s", "stall_ms"), "promotion; goals: within 5 s, no stall over 100 ms"),
]

if __name__ == "__main__":
    main("serving", __doc__, cases=cases, measure=measure, pivots=PIVOTS, processes=1)
