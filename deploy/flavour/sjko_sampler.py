"""What a registered version brings along so that `mlflow.pyfunc` loads it where this project is not installed.

This file is copied into every version and imported from there: it may use nothing but MLflow, numpy and torch.
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

GRAPH, INPUT = "model.pt2", "input.json"


class Sampler:
    """A generator as an exported graph, which takes noise from whatever a caller holds it in.

    >>> Sampler(torch.nn.Tanh(), width=2, columns="which is x", device="cpu").predict([[0, 0]])
    array([[0., 0.]], dtype=float32)

    Args:
        graph: maps noise of shape (n, width) in float32 to samples of shape (n, ...).
        width: number of columns of the noise.
        columns: says what stands in them, as the end of a sentence.
        device: where the graph is, such as `cpu` or `cuda`.
        num_classes: the last column is the number of one of so many classes; 0 where it is none.
    """

    def __init__(self, graph: torch.nn.Module, width: int, columns: str, device: str, num_classes: int = 0) -> None:
        self._graph, self.width, self._columns, self._device = graph, width, columns, device
        self._num_classes = num_classes

    def predict(self, data: Any, params: dict[str, Any] | None = None) -> Any:
        """Draw one sample per row of noise; where the noise is a data frame, a frame with each sample flattened to a row.

        Raises:
            MlflowException: the noise is not finite, not numbers, or has another number of columns.
        """
        noise = self.noise_of(data)
        # The graph was traced with two rows, and never gets fewer.
        padded = np.concatenate([noise, np.zeros((max(0, 2 - len(noise)), self.width), np.float32)])
        with torch.no_grad():
            samples = self._graph(torch.from_numpy(padded).to(self._device)).cpu().numpy()[: len(noise)]
        if hasattr(data, "columns"):
            return type(data)(samples.reshape(len(samples), -1), index=data.index)
        return samples

    def noise_of(self, data: Any) -> np.ndarray:
        """Read noise as float32 of shape (n, width) from an array, a tensor, a frame, nested lists or a mapping of columns.

        Raises:
            MlflowException: the noise is not finite, not numbers, or has another number of columns.
        """
        rows = numbers_of(in_order(data, self.width))
        if rows.ndim == 1 and rows.size:  # one sample, or a column of them
            rows = rows.reshape(-1, 1) if self.width == 1 else rows.reshape(1, -1)
        if rows.size == 0 and rows.ndim < 3 and rows.shape[-1] in (0, self.width):
            return np.zeros((0, self.width), np.float32)
        if rows.ndim != 2 or rows.shape[1] != self.width:
            raise refused(f"noise must have the shape (n, {self.width}), {self._columns}, not {rows.shape}")
        with np.errstate(over="ignore"):  # what overflows float32 becomes infinite, which is refused below
            noise = np.ascontiguousarray(rows, dtype=np.float32)
        if not (finite := np.isfinite(noise).all(axis=1)).all():
            raise refused(f"noise must be finite numbers within float32, and row {int(np.argmin(finite))} is not")
        if self._num_classes and not (known := np.isin(noise[:, -1], np.arange(self._num_classes))).all():
            last, row = self._num_classes - 1, int(np.argmin(known))
            raise refused(f"the last column must be a class, a number from 0 to {last}, and row {row} has {noise[row, -1]:g}")
        return noise


def in_order(data: Any, width: int) -> Any:
    """Put the columns of a frame or a mapping side by side: by number where they are called 0, 1, ..., else as they stand.

    >>> in_order({"1": [5.0], "0": [3.0]}, width=2)
    array([[3., 5.]])
    """
    if hasattr(data, "items") and not hasattr(data, "columns") and not hasattr(data, "index"):  # a mapping, no frame, no series
        columns = {str(name): unwrapped(column) for name, column in data.items()}
        if len(columns) == 1 and np.ndim(only := next(iter(columns.values()))) == 2:
            return only
        names, values = list(columns), list(columns.values())
    elif hasattr(data, "columns"):
        names = [str(name) for name in data.columns]
        values = [data.iloc[:, number].to_numpy() for number in range(len(names))]
        if len(names) == 1 and width != 1:  # a row of numbers in each cell
            return list(values[0])
    else:
        return data
    if sorted(names) == sorted(str(number) for number in range(width)):
        values = [values[names.index(str(number))] for number in range(width)]
    if len({np.shape(value) for value in values}) > 1:
        raise refused("noise must have columns of equal length")
    return np.stack([numbers_of(value) for value in values], axis=-1) if values else np.zeros((0, width))


def unwrapped(data: Any) -> Any:
    """Turn a tensor, a sparse matrix or a series into an array, and those inside a list as well."""
    if isinstance(data, torch.Tensor):
        data = data.detach().cpu()
        return (data.float() if data.dtype == torch.bfloat16 else data).numpy()
    if hasattr(data, "toarray"):
        return data.toarray()
    if hasattr(data, "to_numpy"):
        return unwrapped(list(data)) if data.dtype == object else data.to_numpy()
    return [unwrapped(item) for item in data] if isinstance(data, list | tuple) else data


def numbers_of(data: Any) -> np.ndarray:
    """Read floats or integers as a NumPy array.

    Raises:
        MlflowException: the data are no numbers, or their rows differ in length.
    """
    try:
        array = np.asarray(unwrapped(data))
        if array.dtype == object and not any(isinstance(item, str | bytes | bool) for item in array.flat):
            array = array.astype(np.float64)  # None becomes NaN
    except (TypeError, ValueError) as error:
        raise refused("noise must be rows of numbers, all of one length") from error
    if array.dtype.kind not in "fiu":
        raise refused(f"noise must be numbers, not {array.dtype.name}")
    return array


def refused(reason: str) -> MlflowException:
    """Make the error that MLflow's own scoring server answers with status 400."""
    return MlflowException(reason, error_code=INVALID_PARAMETER_VALUE)


def _load_pyfunc(path: str) -> Sampler:
    """Load the sampler of a version's folder: `mlflow.pyfunc.load_model` calls this by its name."""
    device = os.environ.get("MLFLOW_DEFAULT_PREDICTION_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
    program = torch.export.load(Path(path) / GRAPH)
    if device != "cpu":
        from torch.export.passes import move_to_device_pass

        program = move_to_device_pass(program, device)
    described = json.loads((Path(path) / INPUT).read_text())
    return Sampler(program.module(), described["width"], described["what"], device, described.get("num_classes", 0))
