"""The report says the right thing of tables of which it is known what is wrong with them."""

from dataclasses import replace
from functools import cache

import made_tables
import numpy as np
import pyarrow as pa
import pytest

from pipeline.data.tables.inference import infer
from pipeline.report import samples
from pipeline.report.figures import columns
from pipeline.report.figures.table import FIGURES
from pipeline.report.findings.verdict import Verdict, verdict_of
from pipeline.report.judgement import Judgement, judge
from pipeline.report.samples import draw


@cache
def judged(case: str) -> tuple[Judgement, Verdict]:
    judgement = judge(draw(made_tables.HELD_OUT, made_tables.MADE[case](), made_tables.TRAIN), predict="species")
    return judgement, verdict_of(judgement)


def over_floor(case: str, name: str) -> float:
    metrics = judged(case)[0].metrics
    return metrics[name] - metrics[f"{name}_floor"]


def told(case: str, tone: str) -> str:
    return " ".join(judged(case)[1].of(tone))


@pytest.mark.slow
def test_rows_of_the_same_distribution_are_good_in_every_respect() -> None:
    judgement, verdict = judged("the same distribution")
    assert verdict.level.word == "good"
    assert not verdict.of("bad")
    assert "They are no copies" in told("the same distribution", "good")
    assert abs(judgement.metrics["c2st_auc"] - 0.5) < 0.05
    assert judgement.metrics["energy_p"] > 0.05
    assert 0.4 < judgement.metrics["dcr_share"] < 0.6


@pytest.mark.slow
def test_blurred_rows_are_too_typical_and_lie_between_the_steps() -> None:
    judgement, verdict = judged("blurred")
    assert verdict.level.word == "poor"
    assert "too typical, as if rows had been averaged" in told("blurred", "bad")
    assert "“age” are whole numbers" in told("blurred", "bad")
    assert over_floor("blurred", "recall") < -0.2
    assert judgement.metrics["density"] > 1.2 * judgement.metrics["density_floor"]
    assert judgement.metrics["c2st_auc"] > 0.75


@pytest.mark.slow
@pytest.mark.parametrize("case", ["copied", "nearly copied"])
def test_copies_are_found_though_all_else_is_right(case: str) -> None:
    judgement, verdict = judged(case)
    assert verdict.level.word == "copied"
    assert verdict.of("bad")[0].startswith("They are copies: ")
    assert judgement.metrics["dcr_share"] > 0.95
    assert judgement.metrics["near_share"] > 0.85
    assert judgement.metrics["c2st_auc"] < 0.57
    assert (judgement.metrics["copied_share"] == 1.0) == (case == "copied")


@pytest.mark.slow
def test_real_rows_that_the_model_was_trained_on_are_told() -> None:
    train, rng = made_tables.TRAIN, np.random.default_rng(0)
    mixed = pa.concat_tables([made_tables.HELD_OUT.slice(0, 300), train.slice(0, 300)]).take(rng.permutation(600))
    verdict = verdict_of(judge(draw(mixed, made_tables.MADE["the same distribution"](), train)))
    (told_so,) = [text for text in verdict.of("beware") if "equal a training row" in text]
    assert "the model has seen them" in told_so
    levels = [f"level {number}" for number in rng.integers(0, 40, 1500)]
    few = pa.table({"a": levels, "b": [level[::-1] for level in levels]})
    verdict = verdict_of(judge(draw(few.slice(0, 500), few.slice(500, 500), few.slice(1000))))
    assert not [text for text in verdict.of("beware") if "has seen" in text], "rows of few kinds equal each other by nature"
    assert not any("has seen" in text for text in judged("the same distribution")[1].of("beware"))


@pytest.mark.slow
def test_a_missing_group_is_named() -> None:
    _, verdict = judged("a group missing")
    assert verdict.level.word == "poor"
    assert "Something is missing: " in told("a group missing", "bad")
    assert "have “species” = Gentoo" in told("a group missing", "bad")
    assert over_floor("a group missing", "coverage") < -0.2
    assert over_floor("a group missing", "tv_max") > 0.2
    assert "A model that learns “species” from generated rows does worse" in told("a group missing", "bad")


@pytest.mark.slow
def test_a_lost_relation_is_named_though_every_column_is_right() -> None:
    judgement, verdict = judged("a column shuffled")
    assert verdict.level.word == "poor"
    assert "Each of the 7 columns has the real distribution" in told("a column shuffled", "good")
    assert "The relation of “width” and “age” is lost" in told("a column shuffled", "bad")
    assert over_floor("a column shuffled", "correlation_error_max") > 0.7
    assert next(iter(judgement.test.importance)) in ("width", "age")
    assert judgement.metrics["c2st_auc"] > 0.75


@pytest.mark.slow
def test_noise_is_found_where_no_real_row_is_near() -> None:
    assert "of the generated rows lie where no real row is near" in told("noisy", "bad")
    assert "“price” lies beyond the range of the real values" in told("noisy", "bad")
    assert over_floor("noisy", "precision") < -0.1


@pytest.mark.slow
@pytest.mark.parametrize("case", made_tables.MADE)
def test_every_figure_has_a_floor_and_floors_are_those_of_real_rows(case: str) -> None:
    metrics = judged(case)[0].metrics
    names = [figure.name for figure in FIGURES]
    assert list(metrics) == [name + ending for name in names for ending in ("", "_floor")]
    floors = {name: value for name, value in metrics.items() if name.endswith("_floor")}
    expected = judged("the same distribution")[0].metrics
    assert floors == pytest.approx({name: expected[name] for name in floors})
    assert all(np.isfinite(value) for value in metrics.values())


@pytest.mark.slow
def test_equal_tables_give_equal_figures() -> None:
    train, held_out, others = (made_tables.real(60, seed) for seed in (1, 2, 3))
    samples = [draw(held_out, made_tables.noisy(others, 0.5), train) for _ in range(2)]
    one, again = (judge(each, predict="species").metrics for each in samples)
    assert one == again


@pytest.mark.slow
def test_without_training_rows_copies_of_the_real_ones_are_found() -> None:
    held_out, others = (made_tables.real(300, seed) for seed in (2, 3))
    verdict = verdict_of(judge(draw(held_out, held_out)))
    assert verdict.level.word == "copied"
    good = verdict_of(judge(draw(held_out, others)))
    assert good.level.word == "good"
    assert "not known without --train" in " ".join(good.of("beware"))


@pytest.mark.slow
@pytest.mark.parametrize("has_training", [False, True])
def test_copies_are_counted_among_all_rows_where_near_ones_are_looked_for_among_some(
    has_training: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Among a thousandth of the rows a thousandth of the copies was found, and they were called no copies."""
    monkeypatch.setattr(samples, "MOST_ORIGINALS", made_tables.TRAIN.num_rows // 3)
    half = made_tables.TRAIN.num_rows // 2
    real = made_tables.HELD_OUT if has_training else made_tables.TRAIN
    generated = pa.concat_tables([made_tables.TRAIN.slice(0, half), made_tables.HELD_OUT.slice(half)])
    judgement = judge(draw(real, generated, made_tables.TRAIN if has_training else None))
    assert 0.4 < judgement.metrics["copied_share"] < 0.6
    assert judgement.metrics["copied_share_floor"] == 0
    assert verdict_of(judgement).level.word == "copied"


@pytest.mark.slow
def test_in_many_dimensions_it_is_said_that_w2_rewards_blur() -> None:
    rng = np.random.default_rng(0)

    def table(points: np.ndarray) -> pa.Table:
        return pa.table({f"x{i}": column for i, column in enumerate(points.T)})

    real, wide = rng.normal(size=(200, 64)), rng.normal(size=(200, 64))
    judgement = judge(draw(table(real), table(0.5 * wide)))
    beware = " ".join(verdict_of(judgement).of("beware"))
    assert judgement.metrics["encoded_w2"] < judgement.metrics["encoded_w2_floor"]
    assert "is no merit" in beware
    assert "W2 sees little in 64 coordinates" in beware
    assert verdict_of(judgement).level.word == "poor"


def test_a_schema_that_a_person_has_corrected_says_what_columns_are() -> None:
    schema = infer(made_tables.HELD_OUT)
    corrected = replace(
        schema, columns=tuple(replace(column, grid=None) if column.name == "age" else column for column in schema.columns)
    )
    table = made_tables.changed(made_tables.OTHERS, "age", np.asarray(made_tables.OTHERS["age"]) + 0.5)
    between = [columns.measure(draw(made_tables.HELD_OUT, table, schema=each))[4].between for each in (None, corrected)]
    assert between == [1.0, 0.0]


def test_it_is_said_where_w2_looks_good_and_a_classifier_can_tell() -> None:
    judgement = judge(draw(made_tables.real(300, 2), made_tables.blurred(made_tables.real(300, 3))))
    assert judgement.metrics["encoded_w2"] < 1.1 * judgement.metrics["encoded_w2_floor"]
    assert judgement.metrics["c2st_auc"] > 0.7
    assert "W2 alone would mislead here" in " ".join(verdict_of(judgement).of("beware"))


@pytest.mark.thorough
@pytest.mark.parametrize("has_training", [False, True])
@pytest.mark.parametrize("n", [60, 300])
def test_fresh_samples_are_called_good_whatever_the_seed(n: int, has_training: bool) -> None:
    for seed in range(10):
        real, made, train = (made_tables.real(n, 1000 + 3 * seed + i) for i in range(3))
        verdict = verdict_of(judge(draw(real, made, train if has_training else None), predict="species"))
        assert verdict.level.word == "good", (seed, verdict.of("bad"))


@pytest.mark.slow
def test_what_rounding_leaves_in_the_last_bits_gives_no_row_away() -> None:
    rng = np.random.default_rng(0)
    steps = [rng.integers(0, 60, 100) for _ in range(3)]
    real, train, made = (pa.table({"x": 0.1 + each * 0.0036325384510194}) for each in steps)
    other_bits = pa.table({"x": np.nextafter(made["x"].to_numpy(), 1.0)})
    assert not set(other_bits["x"].to_pylist()) & set(real["x"].to_pylist())
    metrics = [judge(draw(real, each, train)).metrics["c2st_auc"] for each in (made, other_bits)]
    assert metrics[0] == metrics[1]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("largest", [100, 9_000, 2_000_000])
def test_large_amounts_with_cents_keep_their_steps(dtype: type, largest: float) -> None:
    """Above 4,166 every amount was said to lie between the steps."""
    rng = np.random.default_rng(0)
    cents = [rng.integers(100 * largest // 10, 100 * largest, 400) for _ in range(3)]
    real, train, made = (pa.table({"price": (each / 100).astype(dtype)}) for each in cents)
    good, off = draw(real, made, train), pa.table({"price": (cents[2] / 100 + 0.004).astype(dtype)})
    (feature,), (price,) = good.features, columns.measure(good)
    assert price.between == 0
    told = columns.measure(draw(real, off, train))[0].between
    assert feature.step == 0 or told > 0.9 or (dtype is np.float32 and largest > 100), "float32 has no cents beyond that"
