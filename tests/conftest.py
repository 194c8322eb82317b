"""Test-wide settings: shape annotations of `components` are checked at run time, and torch keeps to one thread."""

import torch
from jaxtyping import install_import_hook

# Tests import `components` after this file, so every annotated function and dataclass of it is checked by beartype.
install_import_hook("components", "beartype.beartype")
torch.set_num_threads(1)
