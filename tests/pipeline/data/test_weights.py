"""Samples with weights: drawn in proportion to them, kept in files and found again."""

from pathlib import Path

import numpy as np
import pytest

from components.conditions import Condition, Law
from pipeline.data import rows
from pipeline.data.joint import Conditioned
from pipeline.data.points import Points
from pipeline.data.source import At
from pipeline.data.tables import kept
from pipeline.errors import Corrupt

X = np.arange(6, dtype=np.float32)[:, None]
WEIGHTS = np.array([0, 1, 1, 2, 4, 0], dtype=np.float64)
POINTS = Points(X, X, weights=(WEIGHTS, WEIGHTS))
LABEL = Condition("label", ("a", "b"))
CLASSES = np.array([0, 1, 1, 0, 1, 0])
CONDITIONED = Conditioned(X, X, weights=(WEIGHTS, WEIGHTS), given={"label": (LABEL, CLASSES, CLASSES)})


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng: POINTS.sample(6, rng),
        lambda rng: POINTS.held_out(6, rng),
        lambda rng: POINTS.seen(6, rng),
        lambda rng: POINTS.batch(At("target", int(rng.integers(1 << 30)), 0, 0, 6, slice(0, 6))),
        lambda rng: CONDITIONED.joint(LABEL).held_out(6, rng).samples,
    ],
)
def test_every_draw_is_in_proportion_to_the_weights(draw) -> None:
    rng = np.random.default_rng(0)
    drawn = np.concatenate([draw(rng).ravel() for _ in range(1000)])
    shares = np.bincount(drawn.astype(int), minlength=6) / len(drawn)
    assert shares[[0, 5]].tolist() == [0, 0]
    np.testing.assert_allclose(shares, WEIGHTS / 8, atol=5 * np.sqrt(0.25 / 6000))


def test_moments_and_the_law_of_a_condition_count_weights() -> None:
    moments = POINTS.moments()
    mean = (WEIGHTS * X[:, 0]).sum() / 8
    assert moments.mean[0] == pytest.approx(mean)
    assert moments.std == pytest.approx(np.sqrt((WEIGHTS * (X[:, 0] - mean) ** 2).sum() / 8))
    assert CONDITIONED.joint(LABEL).law().weights.tolist() == [2 / 8, 6 / 8]
    values = Law.of(Condition("v", num_values=1), X, WEIGHTS)
    np.testing.assert_allclose(np.bincount(values.weights[:, 0].astype(int), minlength=6) / len(values.weights), WEIGHTS / 8)


def test_weights_are_part_of_what_the_samples_are() -> None:
    assert len({POINTS.digest, Points(X, X).digest, CONDITIONED.digest, Conditioned(X, X, given=CONDITIONED.given).digest}) == 4
    kept_rows = np.array([True, True, False, True, False, False])
    assert POINTS.only(kept_rows, ~kept_rows).weights[0].tolist() == [0, 1, 2]


@pytest.mark.parametrize("points", [POINTS, CONDITIONED, Points(X, X), Conditioned(X, X, given=CONDITIONED.given)])
def test_rows_are_found_again_in_files_and_a_damaged_one_is_named(points: Points, tmp_path: Path) -> None:
    name = rows.name_of(points)
    kept.write(name, points, str(tmp_path))
    read = kept.read(name, str(tmp_path))
    assert type(read) is type(points)
    assert read.digest == points.digest
    assert isinstance(read.train, np.memmap)
    (tmp_path / "rows" / name[1:] / "samples-test.npy").write_bytes(b"other")
    with pytest.raises(Corrupt, match=r"samples-test\.npy.*its sha256 is"):
        kept.read(name, str(tmp_path))
    (tmp_path / "rows" / name[1:] / "samples-test.npy").unlink()
    with pytest.raises(Corrupt, match="it is missing"):
        kept.read(name, str(tmp_path))


def test_rows_in_a_storage_are_copied_to_this_machine_once(home: Path) -> None:
    name = rows.name_of(CONDITIONED)
    kept.write(name, CONDITIONED, "memory://place")
    first, again = kept.read(name, "memory://place"), kept.read(name, "memory://place")
    assert first.digest == again.digest == CONDITIONED.digest
    assert (home / "cache" / "rows" / name[1:] / "samples-train.npy").is_file()
    assert kept.read(":rows-1-000000000000", "memory://place") is None
