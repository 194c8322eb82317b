"""Test-wide settings: shape annotations of `components` are checked at run time, and torch keeps to one thread."""

from pathlib import Path

import pytest
import torch
from jaxtyping import install_import_hook
from xdist.scheduler.loadscope import LoadScopeScheduling

# Tests import `components` after this file, so beartype checks every annotated function and dataclass of it. An int passes for
# a float, as PEP 484 has it and as pyright does; beartype's default is stricter.
install_import_hook("components", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")
torch.set_num_threads(1)
CLUSTERS = ("test_autoscaling", "test_clusters", "test_search", "test_services", "test_soak", "test_submission", "test_terminals")
"""Files whose tests start several nodes or drivers: one after the other, or a small machine keeps them waiting too long."""
pytest_plugins = ["homes", "live_service"]  # after the hook: it imports `components`


class ByFile(LoadScopeScheduling):
    """A file stays in one of the processes of `-n 2`, and so do all of CLUSTERS."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.split("::", maxsplit=1)[0]
        return "clusters" if Path(path).stem in CLUSTERS else path


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadScopeScheduling:
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """CLUSTERS first, since they are half of the work; benchmarks, which take every core, when little else runs."""
    items.sort(key=lambda item: (item.path.stem not in CLUSTERS, item.path.stem == "test_benchmarks"))
