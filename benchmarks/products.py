"""The matrix products and convolutions of some computation, counted, or done again alone: no implementation can do without."""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten
PRODUCTS = {
    aten.mm.default,
    aten.addmm.default,
    aten.bmm.default,
    aten.baddbmm.default,
    aten.convolution.default,
    aten.convolution_backward.default,
}


# torch ships TorchDispatchMode and its constructor without types, hence the comments below.
class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no types for it
    """A recorder of the products that run while it is entered, with their arguments."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has no types for it
        self.calls: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in PRODUCTS:
            detached = tree_map(lambda value: value.detach() if isinstance(value, torch.Tensor) else value, (args, kwargs or {}))
            self.calls.append((func, *detached))
        return func(*args, **(kwargs or {}))

    def replay(self) -> None:
        """Compute all recorded products again, back to back, without gradients."""
        with torch.no_grad():
            for func, args, kwargs in self.calls:
                func(*args, **kwargs)


class Flop(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no types for it
    """Counts multiplications and additions of what runs while it is entered, second derivatives included.

    torch's own counter follows modules, and cannot where `autograd.grad` is called within.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has no types for it
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.total += count(*args, **(kwargs or {}), out_val=result)
        return result
