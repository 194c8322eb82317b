"""The tables of a report on a trained flow: the rows that its map makes, those that were held out, those it was trained on."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline import cluster as clusters
from pipeline.cluster import Stores
from pipeline.command import report as shown
from pipeline.data.tables.schema import Schema
from pipeline.data.tables.source import TableRows
from pipeline.errors import Unusable
from pipeline.generator import load_generator
from pipeline.report.samples import MOST_ORIGINALS, MOST_ROWS, equals
from pipeline.store.maps import MapRef
from pipeline.store.phases import Store


@dataclass(frozen=True)
class OfFlow:
    """What a report on a map compares.

    Attributes:
        held_out, generated, train: rows in the columns of the table that the flow was trained on.
        schema: what the columns are, a column of a condition left to be inferred; None where there is one.
    """

    ref: MapRef
    held_out: pa.Table
    generated: pa.Table
    train: pa.Table
    schema: Schema | None

    def keep(self, metrics: dict[str, float], store: Stores) -> None:
        """Log the figures of a report to the MLflow run of the map."""
        finite = {name: value for name, value in metrics.items() if np.isfinite(value)}
        Store(clusters.tracking_uri(store)).log_metrics(self.ref.run_id, {0: finite})


def of_flow(reference: str, stores: Stores, num_real: int | None = None) -> OfFlow:
    """Draw as many rows as are compared from a published map, beside the rows of its flow.

    Args:
        reference: an MLflow run id, runs:/ID/phase, or the beginning of a fingerprint.
        num_real: rows that the samples will be compared with, where they are not those that the flow held out.

    Raises:
        Unusable: the map makes no rows of a table.
    """
    shown.quieten()
    store = Store(clusters.tracking_uri(stores), create=False)
    ref = store.resolve(reference)
    generator = load_generator(store, ref, data_uri=clusters.data(stores))
    data = generator.endpoints.data
    if not isinstance(data, TableRows):
        raise Unusable(f"{reference}: the map's samples are no rows of a table; evaluate measures them")
    conditions = (
        [None, None] if generator.endpoints.condition is None else list(data.given[generator.endpoints.condition.name][1:])
    )
    train, held_out = (_some(data, rows, given) for rows, given in zip((data.train, data.test), conditions, strict=True))
    samples, drawn = generator.joint(min(MOST_ROWS, num_real or len(held_out)))
    schema, generated = data.coding.encoding.schema if data.coding.given is None else None, generator.table(samples, drawn)
    rest = _in_parts(data, data.train, conditions[0]) if len(data.train) > MOST_ORIGINALS else ()
    train = pa.concat_tables([train, *equals(rest, [generated, held_out], _chosen(data.train))])
    return OfFlow(ref, held_out, generated, train, schema)


def _some(data: TableRows, rows: np.ndarray, given: np.ndarray | None) -> pa.Table:
    """Read rows as a table again, a part of them where there are many."""
    chosen = _chosen(rows)
    return data.coding.table(np.asarray(rows[chosen]), None if given is None else np.asarray(given[chosen]))


def _chosen(rows: np.ndarray) -> np.ndarray:
    return np.sort(np.random.default_rng(0).permutation(len(rows))[:MOST_ORIGINALS])


def _in_parts(data: TableRows, rows: np.ndarray, given: np.ndarray | None) -> Iterator[pa.Table]:
    """Read all rows as tables again, some at a time."""
    for begin in range(0, len(rows), MOST_ORIGINALS):
        part = slice(begin, begin + MOST_ORIGINALS)
        yield data.coding.table(np.asarray(rows[part]), None if given is None else np.asarray(given[part]))
