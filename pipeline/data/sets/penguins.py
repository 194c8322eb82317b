"""344 penguins of three species near Palmer Station (Horst, Hill and Gorman 2020, CC0): numbers and words, some missing."""

from pathlib import Path

from pipeline.data.tables.spec import TableSpec

PENGUINS = TableSpec(str(Path(__file__).with_suffix(".csv")))
