"""Test-wide settings: shape annotations of `components` are checked at run time, and torch keeps to one thread."""

import torch
from jaxtyping import install_import_hook

# Tests import `components` after this file, so beartype checks every annotated function and dataclass of it. An int passes for
# a float, as PEP 484 has it and as pyright does; beartype's default is stricter.
install_import_hook("components", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")
torch.set_num_threads(1)
pytest_plugins = ["homes", "live_service"]  # after the hook: it imports `components`
