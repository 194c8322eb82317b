"""How fast an accelerator steps and samples: networks and their updates alone, on noise."""

import contextlib
import gc
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.products import Flop
from benchmarks.variants import Step, Switches, batch, fresh, ours, textbook
from components import state as states
from components.gradients import Batch, push_through
from components.networks.pair import NetworkSpec
from components.networks.pairs import Large, Large256, Light

Row = dict[str, Any]
TIMED = {
    "large": (NetworkSpec((3, 32, 32), 128, 0, z_dim=100, pair=Large()), (128, 64, 256)),
    "large_256": (NetworkSpec((3, 256, 256), 64, 0, z_dim=100, pair=Large256()), (32, 64)),
    "light": (NetworkSpec((1, 28, 28), 32, 0, pair=Light()), (64, 256)),
}
"""Networks and batch sizes that are timed; the first size in every variant."""
PLAIN = ("bfloat16_channels_last", "bfloat16", "tf32")
VARIANTS: dict[str, Switches] = {
    "bfloat16_channels_last": Switches(bfloat16=True, channels_last=True),
    "bfloat16": Switches(bfloat16=True),
    "tf32": Switches(),
    "tf32_channels_last": Switches(channels_last=True),
    "float32": Switches(),
    "bfloat16_channels_last_searched": Switches(bfloat16=True, channels_last=True),
    "bfloat16_channels_last_graph": Switches(bfloat16=True, channels_last=True),
    "bfloat16_channels_last_compiled": Switches(bfloat16=True, channels_last=True, compile=True),
}
"""How our step is run, by variant; `searched` tries cuDNN's algorithms first, `graph` is one recorded CUDA graph."""


@dataclass
class Bench:
    """The device that is measured, and the rows that have been measured so far.

    Attributes:
        data: folder of Fashion-MNIST's files, where there is one.
        rows: of all parts so far.
    """

    device: torch.device
    quick: bool = False
    data: Path | None = None
    rows: list[Row] = field(default_factory=list)

    @property
    def precisions(self) -> tuple[str, ...]:
        """List the precisions that the device computes products in."""
        return ("float32", "tf32", "bfloat16") if self.device.type == "cuda" else ("float32", "bfloat16")

    @property
    def networks(self) -> tuple[str, ...]:
        """List the networks in `TIMED` of which the device makes a step within seconds."""
        return ("light",) if self.quick or self.device.type == "cpu" else tuple(TIMED)

    def wait(self) -> None:
        """Wait until the device has done all work that was queued, since calls return before it."""
        if self.device.type != "cpu":
            getattr(torch, self.device.type).synchronize()

    def seconds(self, call: Callable[[], object], budget: float) -> float:
        """Time a call: the median over rounds of at least a twentieth of a second, after one call that warms up."""
        self.round(call, 1)
        once = self.round(call, 1)
        if once > budget:
            return once
        count = max(1, int(0.05 / once))
        return median(self.round(call, count) for _ in range(max(3, min(20, int(budget / (count * once))))))

    def round(self, call: Callable[[], object], repetitions: int) -> float:
        """Time some calls in a row, in seconds per call, queued work included."""
        self.wait()
        start = time.perf_counter()
        for _ in range(repetitions):
            call()
        self.wait()
        return (time.perf_counter() - start) / repetitions


@contextlib.contextmanager
def precision(name: str, *, searched: bool = False) -> Iterator[None]:
    """Let products of float32 numbers be done in TF32 or not, and cuDNN search its algorithms or not."""
    previous = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark
    torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = name == "tf32", searched
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(previous[0])
        torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = previous[1:]


def failure(error: Exception) -> str:
    """Say in one line what went wrong, and give the device's cached memory back for the next measurement."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:160]}"


@dataclass(frozen=True)
class Case:
    """One timing of steps: networks, batch size and variant; `flop` is what one sample's step computes."""

    network: str
    spec: NetworkSpec
    batch_size: int
    variant: str
    flop: float

    @property
    def precision(self) -> str:
        """Name the precision of the variant's products, which its name begins with."""
        return next(kind for kind in ("bfloat16", "tf32", "float32") if kind in self.variant)


def step(bench: Bench) -> Iterator[Row]:
    """Time our step in every variant beside the textbook's and beside one large matrix product."""
    peaks = {}
    for kind in bench.precisions:
        peaks[kind] = product(bench, kind)
        yield {"network": "product", "variant": kind, "tflops": peaks[kind]}
    late = []
    for name in bench.networks:
        spec, sizes = TIMED[name]
        flop = flop_per_sample(bench, spec)
        for n in sizes[: 1 if bench.quick else None]:
            for variant in (*VARIANTS, "textbook_tf32", "textbook_float32") if n == sizes[0] else PLAIN:
                case = Case(name, spec, n, variant, flop)
                if not applies(variant, bench):
                    continue
                if variant.endswith(("graph", "compiled")):
                    late.append(case)  # may spoil the device, or take minutes
                else:
                    yield timed(bench, case, peaks)
    for case in late:
        yield timed(bench, case, peaks)


def applies(variant: str, bench: Bench) -> bool:
    """Say whether a variant differs from the others on this device, and is asked for."""
    if bench.quick:
        return variant in ("float32", "bfloat16", "textbook_float32")
    return bench.device.type == "cuda" or not any(word in variant for word in ("tf32", "graph", "searched"))


def product(bench: Bench, kind: str) -> float:
    """Measure the TFLOP/s of one large matrix product in a precision."""
    size = 512 if bench.quick else {"cuda": 8192, "mps": 4096}.get(bench.device.type, 2048)
    a = torch.randn(size, size, device=bench.device, dtype=torch.bfloat16 if kind == "bfloat16" else torch.float32)
    with precision(kind):
        return float(2 * size**3 / bench.seconds(lambda: a @ a, 1.0) / 1e12)


def flop_per_sample(bench: Bench, spec: NetworkSpec) -> float:
    """Count the multiplications and additions of one step per sample; a multiply-add counts as two."""
    count, anchor = 4, states.build_map(spec, 1).requires_grad_(False).to(bench.device)
    run = ours(fresh(spec, 0, device=bench.device), anchor, Switches())
    with Flop() as counter:
        run(batch(spec, count, 0, device=bench.device))
    return float(counter.total / count)


def timed(bench: Bench, case: Case, peaks: Mapping[str, float]) -> Row:
    """Time a case, and make its row; `peaks` are the large product's TFLOP/s in each precision."""
    row: Row = {"network": case.network, "batch_size": case.batch_size, "variant": case.variant}
    began = time.perf_counter()
    try:
        with precision(case.precision, searched="searched" in case.variant):
            seconds, memory = one_variant(bench, case)
    except Exception as error:  # out of memory, no compiler: the other variants are measured all the same
        return row | {"failed": failure(error)}
    tflops = case.flop * case.batch_size / seconds / 1e12
    return row | {
        "milliseconds": 1e3 * seconds,
        "images_per_second": case.batch_size / seconds,
        "peak_gib": memory,
        "tflops": tflops,
        "share_of_product": tflops / peaks[case.precision] if case.precision in peaks else None,
        "seconds_to_measure": time.perf_counter() - began,
    }


def one_variant(bench: Bench, case: Case) -> tuple[float, float | None]:
    """Time a case's step in seconds, and read the most memory that was in use, in GiB; None for the latter without CUDA."""
    gc.collect()
    if bench.device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    spec, variant = case.spec, case.variant
    state, drawn = fresh(spec, 0, device=bench.device), batch(spec, case.batch_size, 0, device=bench.device)
    anchor = states.build_map(spec, 1).requires_grad_(False).to(bench.device)
    run: Step = textbook(state, anchor) if variant.startswith("textbook") else ours(state, anchor, VARIANTS[variant])
    call: Callable[[], object] = recorded(run, drawn) if variant.endswith("graph") else lambda: run(drawn)
    seconds = bench.seconds(call, 0.1 if bench.quick else 1.0)
    return seconds, torch.cuda.max_memory_allocated() / 2**30 if bench.device.type == "cuda" else None


def recorded(run: Step, drawn: Batch) -> Callable[[], object]:
    """Record a step on one batch as a CUDA graph, and return the call that replays it."""
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch has no types for it
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):  # CUDA records nothing that allocates or chooses algorithms for the first time
            run(drawn)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run(drawn)
    return graph.replay


def sampling(bench: Bench) -> Iterator[Row]:
    """Time one evaluation of a map against a hundred of the same network."""
    for name in bench.networks:
        spec, n = TIMED[name][0], 16 if bench.quick else TIMED[name][1][0]
        network = states.build_map(spec).requires_grad_(False).eval().to(bench.device).to(memory_format=torch.channels_last)
        drawn = batch(spec, n, 0, device=bench.device)
        for kind in bench.precisions[-2:]:  # a hundred evaluations in plain float32 would take this part's whole time
            rates = {}
            for count in (1, 10 if bench.quick else 100):
                with precision(kind), torch.autocast(bench.device.type, torch.bfloat16, enabled=kind == "bfloat16"):
                    sample = partial(push_through, [network] * count, drawn.source, drawn.z)
                    seconds = bench.seconds(sample, 0.5)
                rates[count] = n / seconds
                row = {
                    "network": name,
                    "batch_size": n,
                    "precision": kind,
                    "evaluations": count,
                    "images_per_second": rates[count],
                }
                yield row | {"times_faster_than_this": rates[1] / rates[count]}
