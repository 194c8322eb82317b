"""What a registered version brings along so that `mlflow.pyfunc` loads it where this project is not installed.

This file is copied into every version and imported from there: it may use nothing but MLflow, numpy and torch.
"""

import importlib
import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

GRAPH, INPUT, ARRAYS = "model.pt2", "input.json", "source.npz"
Z, CONDITION = 15, 23
"""Numbers of the random streams that z and conditions are drawn from: those of the service and of `deploy transport`."""


class Source:
    """The source of the points that a caller gives, and what is drawn beside them: z, and the condition where there is any.

    Args:
        described: of the file `input.json`.
        arrays: of the file `source.npz`: `shift`, `scale` and, where coordinates are mixed, `unmixing` take points of the source
            to the space of the graph; `mean`, `deviation` and `most` say there how far the source reaches; `law` has the weights
            of classes, or rows of values.
    """

    def __init__(self, described: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        self.dim, self._z_dim, self._rows_per_part = (int(described[name]) for name in ("dim", "z_dim", "rows_per_part"))
        self._rule, self._arrays = str(described["rule"]), arrays
        self._classes: list[str] = described.get("classes", [])

    def in_space(self, points: np.ndarray) -> np.ndarray:
        """Bring points (n, dim) from the source's own units to the space of the graph; say how many are far outside."""
        scaled = (points - self._arrays["shift"]) / self._arrays["scale"]
        if "unmixing" in self._arrays:
            scaled = scaled @ self._arrays["unmixing"].T
        inside: np.ndarray = scaled.astype(np.float32)
        scaled = (inside - self._arrays["mean"]) / self._arrays["deviation"]
        if len(points) and (far := int((np.sqrt((scaled**2).mean(1)) > self._arrays["most"]).sum())):
            warnings.warn(f"{far:,} of {len(points):,} points lie far outside the source: {self._rule}", stacklevel=2)
        return inside

    def beside(self, n: int, seed: int, condition: str) -> np.ndarray:
        """Draw what stands beside n points, each row by its number alone: z, then the condition.

        Args:
            condition: that all points are given; empty: drawn for each.

        Raises:
            MlflowException: there is no such condition.
        """
        parts = []
        for part, start in enumerate(range(0, max(n, 1), self._rows_per_part)):
            rows = min(self._rows_per_part, n - start)
            parts.append(np.concatenate([self._z(rows, seed, part), self._conditions(rows, seed, part, condition)], axis=1))
        return np.concatenate(parts)

    def _z(self, n: int, seed: int, part: int) -> np.ndarray:
        return _stream(seed, Z, part).standard_normal((n, self._z_dim), dtype=np.float32)

    def _conditions(self, n: int, seed: int, part: int, asked: str) -> np.ndarray:
        law = self._arrays["law"]
        if not len(law):
            if asked:
                raise refused(f"condition must be left out: this model is given none, not {asked!r}")
            return np.zeros((n, 0), np.float32)
        if asked:
            return np.tile(self._asked(asked, law), (n, 1))
        quantiles = _stream(seed, CONDITION, part).random(n)
        if law.ndim > 1:
            return np.asarray(law[(quantiles * len(law)).astype(np.int64)], np.float32)
        cumulative = np.cumsum(law)
        return np.searchsorted(cumulative / cumulative[-1], quantiles, side="right")[:, None].astype(np.float32)

    def _asked(self, asked: str, law: np.ndarray) -> np.ndarray:
        if law.ndim == 1:
            known = {**{str(number): number for number in range(len(law))}, **{name: i for i, name in enumerate(self._classes)}}
            if asked not in known:
                raise refused(f"condition must be one of {', '.join(self._classes)}, not {asked!r}")
            return np.array([known[asked]], np.float32)
        try:
            values = np.array([float(value) for value in asked.split(",")], np.float32)
        except ValueError:
            values = np.full(1, np.nan, np.float32)
        if len(values) != law.shape[1] or not np.isfinite(values).all():
            raise refused(f"condition must be {law.shape[1]} numbers with commas between them, not {asked!r}")
        return values


def _stream(seed: int, purpose: int, part: int) -> np.random.Generator:
    """Make the random generator of one purpose for one part of the rows."""
    key, counter = np.array([seed, purpose], dtype=np.uint64), np.array([0, 0, part, 0], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


class Sampler:
    """A generator as an exported graph, which takes points or noise from whatever a caller holds them in.

    >>> Sampler(torch.nn.Tanh(), width=2, columns="which is x", device="cpu").predict([[0, 0]])
    array([[0., 0.]], dtype=float32)

    Args:
        graph: maps noise of shape (n, width) in float32 to samples of shape (n, ...).
        width: number of columns of the noise.
        columns: says what stands in them, as the end of a sentence.
        device: where the graph is, such as `cpu` or `cuda`.
        num_classes: the last column is the number of one of so many classes; 0 where it is none.
        source: of points, whose z and conditions are drawn; None: only noise is taken, in the space of the graph.
    """

    def __init__(
        self,
        graph: torch.nn.Module,
        width: int,
        columns: str,
        device: str,
        *,
        num_classes: int = 0,
        source: Source | None = None,
    ) -> None:
        self._graph, self.width, self._columns, self._device = graph, width, columns, device
        self._num_classes, self._source = num_classes, source
        self._widths = (width,) if source is None else (source.dim, width)

    def predict(self, data: Any, params: dict[str, Any] | None = None) -> Any:
        """Map one point of the source to a sample, row by row; in a data frame each sample is flattened to a row.

        Args:
            data: points of the source in its own units, N(0, I) where it is noise; z and the condition, where the map takes
                any, may stand beside them, and are drawn otherwise.
            params: `seed` of what is drawn, by default 0; `condition` of all points.

        Raises:
            MlflowException: the points are not finite, not numbers, or have another number of columns.
        """
        asked = {"seed": 0, "condition": "", **(params or {})}
        noise = self.noise_of(data)
        if self._source is not None:
            points = self._source.in_space(noise[:, : self._source.dim])
            given = noise[:, self._source.dim :]
            if noise.shape[1] < self.width or asked["condition"]:
                given = self._source.beside(len(noise), int(asked["seed"]), str(asked["condition"]))
            noise = np.ascontiguousarray(np.concatenate([points, given], axis=1), dtype=np.float32)
        # The graph was traced with two rows, and never gets fewer.
        padded = np.concatenate([noise, np.zeros((max(0, 2 - len(noise)), self.width), np.float32)])
        with torch.no_grad():
            samples = self._graph(torch.from_numpy(padded).to(self._device)).cpu().numpy()[: len(noise)]
        if hasattr(data, "columns"):
            return type(data)(samples.reshape(len(samples), -1), index=data.index)
        return samples

    def noise_of(self, data: Any) -> np.ndarray:
        """Read points as float32 of shape (n, dim), or noise of shape (n, width), from an array, a tensor, a frame, nested lists
        or a mapping of columns.

        Raises:
            MlflowException: they are not finite, not numbers, or have another number of columns.
        """
        rows = numbers_of(in_order(data, self._widths))
        if rows.ndim == 1 and rows.size:  # one sample, or a column of them
            rows = rows.reshape(-1, 1) if 1 in self._widths else rows.reshape(1, -1)
        if rows.size == 0 and rows.ndim < 3 and rows.shape[-1] in (0, *self._widths):
            return np.zeros((0, self._widths[0]), np.float32)
        if rows.ndim != 2 or rows.shape[1] not in self._widths:
            shapes = " or ".join(f"(n, {width})" for width in dict.fromkeys(self._widths))
            raise refused(f"noise must have the shape {shapes}, {self._columns}, not {rows.shape}")
        with np.errstate(over="ignore"):  # what overflows float32 becomes infinite, which is refused below
            noise = np.ascontiguousarray(rows, dtype=np.float32)
        if not (finite := np.isfinite(noise).all(axis=1)).all():
            raise refused(f"noise must be finite numbers within float32, and row {int(np.argmin(finite))} is not")
        if self._num_classes and noise.shape[1] == self.width:
            known = np.isin(noise[:, -1], np.arange(self._num_classes))
            if not known.all():
                last, row = self._num_classes - 1, int(np.argmin(known))
                raise refused(f"the last column must be a class, a number from 0 to {last}, and row {row} has {noise[row, -1]:g}")
        return noise


def in_order(data: Any, widths: tuple[int, ...]) -> Any:
    """Put the columns of a frame or a mapping side by side: by number where they are called 0, 1, ..., else as they stand.

    >>> in_order({"1": [5.0], "0": [3.0]}, widths=(2,))
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
        if len(names) == 1 and 1 not in widths:  # a row of numbers in each cell
            return list(values[0])
    else:
        return data
    counted = [str(number) for number in range(len(names))]
    if sorted(names) == sorted(counted):
        values = [values[names.index(number)] for number in counted]
    if len({np.shape(value) for value in values}) > 1:
        raise refused("noise must have columns of equal length")
    return np.stack([numbers_of(value) for value in values], axis=-1) if values else np.zeros((0, widths[0]))


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
    with np.load(Path(path) / ARRAYS, allow_pickle=False) as arrays:
        source = Source(described, dict(arrays))
    num_classes = len(described.get("classes", []))
    sampler = Sampler(program.module(), described["width"], described["what"], device, num_classes=num_classes, source=source)
    if (rows := described.get("rows")) is None:
        return sampler
    made: Sampler = importlib.import_module("sjko_rows").RowSampler.of(path, rows, sampler, source)  # beside this file
    return made
