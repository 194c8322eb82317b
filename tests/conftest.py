"""Test-wide settings: three sizes of the suite, shapes checked at run time, one thread, and no process left behind.

A test without a marker starts no other process and takes less than a second: `make check` runs these. `slow` takes longer, in
this process; `real` is one end-to-end test of each promise on real servers: `make test` adds both. `thorough` is every fault,
resize and benchmark: `make test-all` runs everything.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before scipy is imported: its threads wait for each other at full speed

import psutil
import pytest
from jaxtyping import install_import_hook

# Tests import `components` after this file, so beartype checks every annotated function and dataclass of it. An int passes for
# a float, as PEP 484 has it and as pyright does; beartype's default is stricter.
install_import_hook("components", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")
SHARED = ("homes", "servers", "live_service")
"""Modules of fixtures."""
pytest.register_assert_rewrite(*SHARED)

LARGER = ("real", "thorough", "soak")
"""Markers of tests that start processes."""
HARMLESS = {"git", "uname", "lscpu", "ldconfig", "file", "bash", "sh", "fc-list"}
"""Programs that any test may run: they answer at once and leave nothing. Matplotlib runs `fc-list`, once on a machine."""
STARTED_BY = "SJKO_STARTED_BY_TEST_PROCESS"
"""Variable that every process inherits which a test starts."""
_small: list[str] = []
"""The test that runs now, where it may start no process."""


def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    """Mark tests that use a real server, and begin with the larger ones."""
    for item in items:
        fixtures = item._fixtureinfo.name2fixturedefs
        servers = {definitions[-1].func.__module__ for definitions in fixtures.values()} & {"servers", "live_service"}
        if servers and not any(item.get_closest_marker(name) for name in LARGER):
            item.add_marker(pytest.mark.real)
    items.sort(key=lambda item: [item.get_closest_marker(name) is None for name in LARGER[::-1]])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    if not any(item.get_closest_marker(name) for name in LARGER):
        _small.append(item.nodeid)
    try:
        return (yield)
    finally:
        _small.clear()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown() -> None:
    """After the last test servers are ended, by processes of their own."""
    _small.clear()


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    """Python tells of every process that it starts."""
    if event == "subprocess.Popen" and _small and Path(str(arguments[0])).name not in HARMLESS:
        raise AssertionError(f"{_small[0]} starts {arguments[0]}: it needs the marker `real` or `thorough`")


sys.addaudithook(_watch)


def pytest_configure(config: pytest.Config) -> None:
    """Load what tests share, but for the process that only starts those of `-n`: it takes seven seconds, and they wait for it."""
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        return
    for name in SHARED:
        config.pluginmanager.import_plugin(name)  # after the hook: they import `components`
    import torch
    from homes import CACHE

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))  # one, unless somebody asks torch for more
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(CACHE / "inductor"))  # compiled once, also for the next run


@pytest.fixture(scope="session", autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    """A run that leaves a process behind fails, and ends it."""
    os.environ[STARTED_BY] = str(os.getpid())
    yield
    _, left = psutil.wait_procs(started_here(), timeout=30)
    names = [f"{process.pid} {' '.join(process.cmdline())[:150]}" for process in left if process.is_running()]
    for process in left:
        process.kill()
    assert not names, f"left running: {names}"


def started_here() -> list[psutil.Process]:
    """Processes that this one has started, or that those have, wherever they hang now."""
    found = []
    for process in psutil.process_iter():
        try:
            ours = process.environ().get(STARTED_BY) == str(os.getpid()) and process.pid != os.getpid()
            if ours and "multiprocessing.resource_tracker" not in " ".join(process.cmdline()):  # ends with this process
                found.append(process)
        except psutil.Error:
            continue
    return found
