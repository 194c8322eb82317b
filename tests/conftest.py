"""Test-wide settings: shape annotations of `components` are checked at run time, and torch keeps to one thread."""

import pytest
import torch
from jaxtyping import install_import_hook

# Tests import `components` after this file, so beartype checks every annotated function and dataclass of it. An int passes for
# a float, as PEP 484 has it and as pyright does; beartype's default is stricter.
install_import_hook("components", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")
torch.set_num_threads(1)
CLUSTERS = ("test_autoscaling", "test_clusters", "test_search", "test_services", "test_soak", "test_submission")
"""Files whose tests start several nodes or drivers: one after the other, or a small machine keeps them waiting too long."""
pytest_plugins = ["homes", "live_service"]  # after the hook: it imports `components`


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With `-n 2 --dist loadgroup` a file stays in one process, and so do all of CLUSTERS."""
    for item in items:
        name = item.path.stem
        item.add_marker(pytest.mark.xdist_group("clusters" if name in CLUSTERS else str(item.path)))
