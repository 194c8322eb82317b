"""A trained phase of a flow, as a user of Python holds it: T_k, which is sampled and applied to points."""

import copy
import logging
from collections.abc import Iterable
from functools import cached_property
from typing import Any, Protocol, Self

import numpy as np
import pyarrow as pa

from components.conditions import Conditions
from deploy.models import Draw, noise_of
from pipeline.data.given.outside import far_outside
from pipeline.data.given.ways import Where, way_of
from pipeline.errors import Unusable
from pipeline.evaluation.remarks import remarks
from pipeline.evaluation.size import EvaluationSize
from pipeline.generator import Generator, Noise, push_in_blocks
from sjko.data import conditions, tables
from sjko.data.given import ARRAY, Form, require_same, rows_of, whole
from sjko.data.joined import values_of
from sjko.data.opening import columns_of, opened, taken_out

logger = logging.getLogger(__name__)
COPIES = 3
"""Arrays of n samples that drawing them takes: noise, samples, and the parts that these are put together from."""
BEYOND = 0.1
"""Values of a condition further from those of the data than this share of their range are warned of."""
OF_TRAINING = frozenset(("potential_loss", "map_loss", "gradient_penalty", "step", "train_seconds"))
"""Names of numbers that are logged in training and are no metric of the map."""


class Origin(Protocol):
    """The place that a trained phase is from: what is known of its training, and its metrics."""

    def curves(self) -> dict[str, list[tuple[int, float]]]:
        """Give the running divergence and the transport cost by step."""
        ...

    def metrics(self, generator: Generator, size: EvaluationSize) -> dict[str, float]:
        """Give the metrics of the map, with their floors."""
        ...


class TrainedPhase:
    """A trained phase k of a flow: its map T_k from the source to mu_{k+1}.

    Example:
        >>> from sjko import Flow, Jko, Recipe, Training
        >>> flow = Flow(Recipe(jko=Jko(num_phases=2), training=Training(num_steps=5, batch_size=16))).fit()
        >>> flow.phases[0].k, flow.phases[0].sample(3).shape
        (0, (3, 2))
    """

    def __init__(self, generator: Generator, origin: Origin, form: Form = ARRAY, size: EvaluationSize | None = None) -> None:
        self.generator, self._origin, self._form = generator, origin, form
        self._size = size or EvaluationSize()

    @property
    def k(self) -> int:
        """Give the number of the phase, counted from 0."""
        return self.generator.phase.k

    @property
    def fingerprint(self) -> str:
        """Give the hash of all that the phase's result depends on."""
        return self.generator.phase.fingerprint

    @cached_property
    def curves(self) -> dict[str, list[tuple[int, float]]]:
        """Give `divergence` and `transport_cost` as lists of (step, mean over a hundredth of the phase), in nats."""
        return self._origin.curves()

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Give the metrics of the map on samples of it beside held-out data, each with its floor: measured when first asked for.

        W2 of 4 pairs of 2,000 samples takes seconds; phases before the last are judged on pairs of 500.

        Raises:
            Unusable: the data of the flow were in the memory of another process.
        """
        metrics = self._origin.metrics(self.generator, self._size)
        for remark in remarks(metrics):
            logger.warning(remark)
        return {name: value for name, value in metrics.items() if name not in OF_TRAINING}

    @property
    def is_measured(self) -> bool:
        """Say whether `metrics` are there already."""
        return "metrics" in vars(self)

    def sample(self, n: int, seed: int = 0, condition: object = None) -> Any:
        """Draw n samples of mu_{k+1} in the data's own units; equal seeds give equal samples, and equal x for every phase.

        They are those that the service and `python -m deploy generate` give for the seed.

        Args:
            n: number of samples.
            seed: at least 0.
            condition: where the flow is conditional: the name or number of a class, or values, that all samples are given, or one
                for each of them; None: drawn for each from the data's own distribution.

        Returns:
            float32 of shape (n, d) or (n, channels, side, side); a data frame or table with the columns, types and categories
            that the flow was fitted with.

        Raises:
            ValueError: n or seed is no such number, or there is no such condition.
        """
        n, seed = whole("n", n, least=1), whole("seed", seed, least=0)
        self._require_room(n)
        noise = noise_of(self.generator, Draw(n, seed, self._for_all(condition, n)))
        return self._back(*self._pushed([noise], n, condition))

    def transport(self, points: Any, seed: int = 0, condition: object = None) -> Any:
        """Apply the map to given points of the source: T_k(x, z), row by row; a warning counts those far outside it.

        Args:
            points: rows of the source in its own units, as `Flow.fit` takes data; for noise, rows of N(0, I).
            seed: of the latent z, where the networks have one; row i gets the same z whatever rows are beside it.
            condition: as `sample` takes it; None: where the points have the column that `fit` has taken out, that of each.

        Returns:
            As many samples in the data's own units, in the form that `sample` has.

        Raises:
            Unusable: the points are not finite numbers, or not of the source's shape.
        """
        coding = self.generator.endpoints.coding
        if coding is not None and columns_of(opened(points, "points")):
            return self._transported_rows(opened(points, "points"), whole("seed", seed, least=0), condition)
        if coding is not None and self.generator.endpoints.starts_from_rows:
            raise Unusable(
                f"points must be a frame or a table with the columns {', '.join(coding.encoding.schema.names)} of the source"
            )
        points, condition = self._separated(points, condition)
        rows = rows_of(points, "points")
        require_same(self._form, rows.form, "the data", "points")
        shape, given = tuple(self.generator.endpoints.shape), rows.samples.shape[1:]
        if given != shape:
            raise Unusable(f"points: each must have the shape {shape} of the flow's samples, not {given}")
        self._warn_of_outside(rows.samples)
        noises = self.generator.given_noise(
            rows.samples, whole("seed", seed, least=0), self._for_all(condition, len(rows.samples))
        )
        return self._back(*self._pushed(noises, len(rows.samples), condition), rows.index)

    def _transported_rows(self, points: Any, seed: int, condition: Any) -> Any:
        """Apply the map to points with columns, where the samples are rows of a table; other columns stay beside them."""
        index = None if isinstance(points, pa.Table) else points.index
        table = points if index is None else pa.Table.from_pandas(points, preserve_index=False)
        coding = self.generator.endpoints.coding
        of_rows = [] if coding is None or coding.given is None else list(coding.given.columns)
        if isinstance(condition, str | list) and of_rows in ([condition], condition):
            condition = None  # that of each row
        way = way_of(self.generator.endpoints, table.schema, "points", condition="condition" if condition is None else None)
        given = way.samples(table, Where("points", seed=seed))
        self._warn_of_outside(given)
        row_conditions = way.conditions(table) if condition is None else None
        noises = self.generator.given_noise(given, seed, self._for_all(condition, len(given)), row_conditions=row_conditions)
        samples, conditions_given = self._pushed(noises, len(given), condition)
        moved, _ = way.back(table, samples, conditions_given)
        return tables.back(moved, Form((), is_table=index is None), index)

    def _back(self, samples: np.ndarray, given: Conditions | None, index: Any = None) -> Any:
        """Give samples in the form of the flow's data; those that stand for rows of a table as these rows."""
        if self.generator.endpoints.coding is None:
            return self._form.back(samples, index)
        return tables.back(self.generator.table(samples, given), self._form, index)

    def _require_room(self, n: int) -> None:
        """Refuse more samples than the memory that is free can hold beside the noise that they are made of."""
        import psutil

        needed = n * (self.generator.dim + self.generator.phase.network.z_dim) * 4 * COPIES
        if needed > (free := psutil.virtual_memory().available):
            raise ValueError(
                f"n: {n:,} samples take {needed / 1e9:,.3g} GB of memory, and {free / 1e9:,.3g} are free: draw fewer at a time, "
                "each with a seed of its own, or write them to files with `python -m deploy generate`"
            )

    def _for_all(self, condition: Any, n: int) -> Any:
        """Give the condition that all of n samples get; None where each has one of its own."""
        return condition if conditions.each_of(self.generator.endpoints.condition, condition, n) is None else None

    def _pushed(self, noises: Iterable[Noise], n: int, condition: Any) -> tuple[np.ndarray, Conditions | None]:
        """Map the noise of n samples, part by part, with the condition that is asked for, be it one for all or one for each.

        Returns:
            The samples, and the condition that each was given, where the map is given any.
        """
        law, each = self.generator.endpoints.law, conditions.each_of(self.generator.endpoints.condition, condition, n)
        samples, used, start = [], [], 0
        for part in noises:
            rows = len(part.x)
            noise = part if each is None else part._replace(condition=each[start : start + rows])
            if condition is not None and noise.condition is not None and law is not None and not law.condition.classes:
                self._warn_of_far(law.condition.in_units(law.weights), law.condition.in_units(noise.condition))
            samples.append(push_in_blocks(self.generator, noise))
            used += [] if noise.condition is None else [noise.condition]
            start += rows
        return np.concatenate(samples), np.concatenate(used) if used else None

    def _warn_of_outside(self, points: np.ndarray) -> None:
        """Warn of points that the source hardly ever draws, about which a map has learned nothing."""
        if num_far := self.generator.num_far(points):
            logger.warning(far_outside(num_far, len(points)))

    @staticmethod
    def _warn_of_far(trained: np.ndarray, asked: Any) -> None:
        """Warn of values beyond those of the data, about which a map has learned nothing."""
        low, high = trained.min(0), trained.max(0)
        room = (high - low) * BEYOND
        if ((asked < low - room) | (asked > high + room)).any():
            span = ", ".join(f"{least:g} to {most:g}" for least, most in zip(low, high, strict=True))
            logger.warning(f"condition: values beyond those of the data, which go from {span}: the map has learned nothing there")

    def _separated(self, points: Any, condition: Any) -> tuple[Any, Any]:
        """Take the columns of the condition out of points that have them; they are that of each unless another is asked for."""
        labels, points = list(self._form.given), opened(points, "points")
        if not labels or not set(labels) <= set(columns_of(points)):
            return points, condition
        rest, columns = taken_out(points, labels, "points")
        if condition is None or [condition] == labels:
            condition = columns[0] if len(labels) == 1 else values_of(points, labels, "points")
        return rest, condition

    def in_form(self, form: Form) -> Self:
        """Give the same phase, whose samples come in another form."""
        other = copy.copy(self)
        other._form = form
        return other

    def __repr__(self) -> str:
        phase = self.generator.phase
        return f"<phase {phase.k} of a flow to {phase.data.target}, h {phase.jko.h:g}, {phase.fingerprint}>"
