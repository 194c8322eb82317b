"""Parts of long jobs: whole and what they should be, or seen to be neither, wherever they were cut or changed."""

import hashlib
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.data.parts import Damaged, Foreign, packed, unpacked

TABLE = pa.table({"x": np.random.default_rng(0).standard_normal(500)})
FACTS = {"part": 3, "seed": 1, "shape": [2, 2]}


def sha256_of(table: pa.Table, facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(str(facts["seed"]).encode() + table["x"].combine_chunks().to_numpy().tobytes()).hexdigest()


CONTENT = packed(TABLE, FACTS, sha256_of(TABLE, FACTS))


def test_a_part_is_read_as_it_was_written_and_knows_what_it_holds() -> None:
    part = unpacked(CONTENT, sha256_of)
    assert part.table.equals(TABLE)
    assert part.content == CONTENT == packed(TABLE, FACTS, sha256_of(TABLE, FACTS)), "equal parts are equal files"
    assert part.holds(FACTS)
    assert part.holds({"part": 3})
    for other in ({"part": 4}, {"seed": None}, {"another": 3}, FACTS | {"shape": [4]}):
        assert not part.holds(other)


@pytest.mark.parametrize("length", [4, 100, len(CONTENT) // 2, len(CONTENT) - 8, len(CONTENT) - 1])
def test_a_part_that_is_cut_short_is_damaged(length: int) -> None:
    with pytest.raises(Damaged):
        unpacked(CONTENT[:length], sha256_of)


@pytest.mark.parametrize("at", range(4, 4000, 397))
def test_a_part_whose_rows_have_a_flipped_bit_is_damaged(at: int) -> None:
    content = bytearray(CONTENT)
    content[at] ^= 1
    with pytest.raises(Damaged):
        unpacked(bytes(content), sha256_of)


def test_other_rows_or_other_facts_under_the_sum_of_a_part_are_damaged() -> None:
    for table, facts in ((TABLE.slice(1), FACTS), (TABLE, FACTS | {"seed": 2})):
        with pytest.raises(Damaged, match="not those that were written"):
            unpacked(packed(table, facts, sha256_of(TABLE, FACTS)), sha256_of)


def test_a_part_without_what_its_sum_is_made_of_is_damaged() -> None:
    with pytest.raises(Damaged, match="cannot be read"):
        unpacked(packed(TABLE, {"part": 3}, "ab"), sha256_of)


def test_files_of_something_else_are_told_from_damaged_parts() -> None:
    with pytest.raises(Foreign, match="no Parquet"):
        unpacked(b"something else", sha256_of)
    content = io.BytesIO()
    pq.write_table(TABLE, content)
    with pytest.raises(Foreign, match="does not say"):
        unpacked(content.getvalue(), sha256_of)
