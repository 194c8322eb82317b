"""Findings about columns, their values, and their pairs."""

from collections.abc import Iterator

import numpy as np

from pipeline.report.figures.columns import ColumnFigures
from pipeline.report.figures.pairs import MOST_COLUMNS, PairFigures
from pipeline.report.findings.remarks import BAD, GOOD, Remark, figure, listed, percent, quoted, severe
from pipeline.report.judgement import Judgement

MOST_NAMED = 4
"""Columns that get a sentence each; the rest are counted."""
SEVERE_DISTANCE, SEVERE_DIFFERENCE = 0.25, 0.4


def columns(judgement: Judgement) -> Iterator[Remark]:
    """Say which columns have another distribution."""
    off = sorted((column for column in judgement.columns if column.is_off), key=lambda column: -column.distance)
    every, n = len(judgement.columns), judgement.samples.num_rows
    if not off:
        who = "The column has" if every == 1 else f"Each of the {every} columns has"
        yield Remark(GOOD, f"{who} the real distribution, as far as {n:,} rows show.")
        return
    if len(off) < every:
        rest = every - len(off)
        yield Remark(GOOD, f"{rest} of {every} columns {'has' if rest == 1 else 'have'} the real distribution.")
    for column in off[:MOST_NAMED]:
        yield Remark(
            BAD, _column(judgement, column), severe(column.distance > SEVERE_DISTANCE, "columns have other distributions")
        )
    if others := [quoted(column.feature.name) for column in off[MOST_NAMED:]]:
        yield Remark(
            BAD, f"The {'distribution is' if len(others) == 1 else 'distributions are'} off for {listed(others, 8)} as well."
        )


def _column(judgement: Judgement, column: ColumnFigures) -> str:
    name, (real, made) = quoted(column.feature.name), column.missing
    if column.lacks:
        return f"{name} is missing in {percent(made)} of the generated rows and in {percent(real)} of the real ones."
    word = "KS" if column.feature.ordered else "total variation"
    figures = f"{word} {column.distance:.2f}, real against real {column.floor:.2f}"
    if not column.feature.ordered:
        return f"{name} has other shares: {_category(judgement, column)} ({figures})."
    ratio = column.spreads[1] / column.spreads[0] if column.spreads[0] > 0 else 1.0
    ways = []
    if abs(column.shift) > 0.1:
        ways.append(f"its median is {abs(column.shift):.1f} standard deviations too {'high' if column.shift > 0 else 'low'}")
    if not 0.85 < ratio < 1.18:
        ways.append(f"it spreads {ratio:.2f} times as much as it should")
    return f"{name} has another distribution{': ' + ' and '.join(ways) if ways else ''} ({figures})."


def _category(judgement: Judgement, column: ColumnFigures) -> str:
    number = judgement.samples.features.index(column.feature)
    shares = []
    for rows in (judgement.samples.held_out, judgement.samples.generated):
        values = rows[:, number]
        values = values[~np.isnan(values)].astype(int)
        shares.append(np.bincount(values, minlength=len(column.feature.labels)) / max(1, len(values)))
    place = int(np.argmax(np.abs(shares[1] - shares[0])))
    label = quoted(column.feature.labels[place])
    return f"{label} in {percent(shares[1][place])} of the rows in place of {percent(shares[0][place])}"


def details(judgement: Judgement) -> Iterator[Remark]:
    """Say where single values give rows away at a glance: between the steps, beyond the range, in unknown categories."""
    between = [column for column in judgement.columns if column.between > 0.01]
    whole = [quoted(column.feature.name) for column in between if column.feature.step == 1]
    finer = [f"{quoted(each.feature.name)} ({each.feature.step:g})" for each in between if each.feature.step != 1]
    if whole:
        yield Remark(BAD, f"Real values of {listed(whole, 6)} are whole numbers, generated ones are not.")
    if finer:
        yield Remark(BAD, f"Generated values lie between the steps that real ones keep: {listed(finer, 6)}.")
    for column in judgement.columns:
        if column.is_outside:
            what = "lies beyond the range of the real values" if column.feature.ordered else "has categories that no real row has"
            yield Remark(BAD, f"{quoted(column.feature.name)} {what} in {percent(column.outside)} of the generated rows.")


def pairs(judgement: Judgement) -> Iterator[Remark]:
    """Say which columns do not go together as they should."""
    if not judgement.pairs:
        return
    off, every = [pair for pair in judgement.pairs if pair.is_off], len(judgement.pairs)
    if not off:
        largest = (
            f"{judgement.pairs[0].difference:.2f}, real against real up to {max(pair.floor for pair in judgement.pairs):.2f}"
        )
        of = "" if every == 1 else f" of {every} pairs{_of_first(judgement)}"
        yield Remark(GOOD, f"Columns go together as they do in real rows: the largest difference{of} is {largest}.")
        return
    for pair in off[: MOST_NAMED - 1]:
        yield Remark(
            BAD, _pair(judgement, pair), severe(pair.difference > SEVERE_DIFFERENCE, "relations between columns are lost")
        )
    if len(off) >= MOST_NAMED:
        yield Remark(BAD, f"So it is with {len(off) - MOST_NAMED + 1} more of {every} pairs{_of_first(judgement)}.")


def _of_first(judgement: Judgement) -> str:
    """Say which columns the pairs are of, where they are not of all."""
    return f" of the first {MOST_COLUMNS} columns" if len(judgement.samples.features) > MOST_COLUMNS else ""


def _pair(judgement: Judgement, pair: PairFigures) -> str:
    first, second = (quoted(judgement.samples.features[number].name) for number in pair.numbers)
    stronger = abs(pair.generated) - abs(pair.real)
    ways = {
        "is lost": abs(pair.generated) < 0.3 * abs(pair.real),
        "is turned around": pair.generated * pair.real < 0 and abs(pair.real) > 0.1,
        "is too weak": stronger < -0.05,
        "is too strong": stronger > 0.05,
    }
    how = next((way for way, holds in ways.items() if holds), "is another one")
    return f"The relation of {first} and {second} {how}: {pair.measure} {figure(pair.generated)} in place of {figure(pair.real)}."
