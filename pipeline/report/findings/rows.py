"""Findings about whole rows: can they be told, are they copies, do they reach all real rows, are they useful?"""

from collections.abc import Iterator

import numpy as np

from pipeline.report.findings.remarks import BAD, BEWARE, GOOD, Remark, figure, gap, listed, percent, quoted, severe
from pipeline.report.judgement import Judgement

TOLD, TOLD_OFTEN = 0.55, 0.75
"""AUC from which a classifier is said to tell generated rows from real ones; and to do so most of the time."""
HOW = ((0.65, "somewhat more often than by guessing"), (TOLD_OFTEN, "often"), (0.95, "most of the time"), (1.0, "nearly always"))
SURE = 4.0
"""Standard errors that an AUC must lie above one half, to be more than chance."""
USED = 0.02
"""What a column's shuffling must take from the AUC, to be named."""
FEW_ROWS = 200
BLIND = 0.5
NEAR_COPIES = 0.3
SEVERE = 0.15


def is_copied(judgement: Judgement) -> bool:
    """Say whether generated rows repeat the rows that they were made from, or lie unduly near to them."""
    metrics, near = judgement.metrics, gap(judgement, "near_share")
    if judgement.samples.has_training:
        closer = metrics["dcr_share"] - 0.5 > 0.1 + 4 * judgement.copies.error
        return gap(judgement, "copied_share") > 0.01 or (near > SEVERE and closer)
    return gap(judgement, "copied_share") > 0.01 or (near > SEVERE and metrics["near_share"] > NEAR_COPIES)


def is_told(judgement: Judgement) -> bool:
    """Say whether a classifier tells generated rows from real ones, beyond what chance does."""
    least = max(TOLD, 0.5 + SURE * judgement.test.error)
    return max(judgement.metrics["c2st_auc"], judgement.metrics["c2st_logistic_auc"]) > least


def copies(judgement: Judgement) -> Iterator[Remark]:
    """Say whether rows are copies, and of which rows that is known."""
    metrics, has_training = judgement.metrics, judgement.samples.has_training
    whose = "training row" if has_training else "real row"
    if is_copied(judgement):
        parts = []
        if gap(judgement, "copied_share") > 0.01:
            parts.append(
                f"{percent(metrics['copied_share'])} equal a {whose} (of other real rows "
                f"{percent(metrics['copied_share_floor'])})"
            )
        if gap(judgement, "near_share") > SEVERE:
            parts.append(
                f"{percent(metrics['near_share'])} lie as near to one {whose} as {percent(metrics['near_share_floor'])} of other "
                "real rows do"
            )
        yield Remark(
            BAD,
            f"They are copies: {' and '.join(parts)}. What looks good here is so because it was copied, and people in the "
            "original rows can be recognised.",
            "the rows are copies",
        )
    elif has_training:
        yield Remark(
            GOOD,
            f"They are no copies: {percent(metrics['copied_share'])} equal a training row, and "
            f"{percent(metrics['dcr_share'])} are nearer to the training rows than to as many "
            "rows that the model has not seen (50 % is ideal).",
        )
    else:
        yield Remark(
            BEWARE,
            "Whether training rows were learned by heart is not known without --train; "
            f"{percent(metrics['copied_share'])} of the generated rows equal a row of --real.",
        )


def seen(judgement: Judgement) -> Iterator[Remark]:
    """Say where real rows, which the model should not have seen, are rows that it was trained on."""
    shared, usual, n = judgement.metrics["copied_share_floor"], judgement.copies.repeated, judgement.samples.num_rows
    noise = SURE * float(np.sqrt((shared * (1 - shared) + usual * (1 - usual) + 1 / n) / n))
    if judgement.samples.has_training and shared - usual > 0.01 + noise:
        yield Remark(
            BEWARE,
            f"{percent(shared)} of the real rows equal a training row (training rows equal each other in {percent(usual)}): the "
            "model has seen them, so that neither floors nor copies mean much. Give rows that were held out.",
        )


def classifiers(judgement: Judgement) -> Iterator[Remark]:
    """Say whether a classifier can tell, and by which columns."""
    metrics, is_seen = judgement.metrics, is_told(judgement)
    is_boosting = metrics["c2st_auc"] >= metrics["c2st_logistic_auc"] or not is_seen
    name, kind = ("c2st_auc", "gradient boosting") if is_boosting else ("c2st_logistic_auc", "logistic regression")
    auc, floor = metrics[name], metrics[f"{name}_floor"]
    figures = f"AUC {auc:.2f} by {kind}, where 0.5 is guessing and real rows against real ones get {floor:.2f}"
    if not is_seen:
        yield Remark(GOOD, f"A classifier cannot tell generated rows from real ones: {figures}.")
        return
    how = next(word for most, word in HOW if auc <= most)
    used = [quoted(column) for column, drop in judgement.test.importance.items() if drop > USED]
    by = f"It goes by {listed(used)}." if used else "No single column gives them away."
    reason = severe(auc > TOLD_OFTEN, f"a classifier tells them from real rows {how}")
    yield Remark(BAD, f"A classifier tells generated rows from real ones {how}: {figures}. {by}", reason)


def places(judgement: Judgement) -> Iterator[Remark]:
    """Say whether generated rows reach all real ones, keep to them, or crowd in their middle."""
    metrics, off = judgement.metrics, gap(judgement, "precision")
    reached = min(gap(judgement, "coverage"), gap(judgement, "recall"))
    crowded = metrics["density"] > 1.2 * metrics["density_floor"] and gap(judgement, "recall") < -0.05
    if crowded:
        yield Remark(
            BAD,
            "They are too typical, as if rows had been averaged: they crowd where real rows are densest (density "
            f"{metrics['density']:.2f}, real rows {metrics['density_floor']:.2f}), and only {percent(metrics['recall'])} of the "
            f"real rows lie among them (of other real rows {percent(metrics['recall_floor'])}).",
            severe(reached < -SEVERE, "the rows are too typical"),
        )
    elif reached < -0.05:
        yield Remark(BAD, _missing(judgement), severe(reached < -SEVERE, "part of the real rows is missing"))
    if off < -0.05:
        yield Remark(
            BAD,
            f"{percent(1 - metrics['precision'])} of the generated rows lie where no real row is near (of real rows "
            f"{percent(1 - metrics['precision_floor'])}): noise, or combinations that do not occur.",
            severe(off < -SEVERE, "many lie where no real row is"),
        )
    elif reached >= -0.05:
        yield Remark(
            GOOD,
            f"They lie where real rows do (precision {metrics['precision']:.2f}, real rows {metrics['precision_floor']:.2f}) and "
            f"reach them all (coverage {metrics['coverage']:.2f}, real rows {metrics['coverage_floor']:.2f}).",
        )


def _missing(judgement: Judgement) -> str:
    metrics, missed = judgement.metrics, judgement.neighbours.missed
    name = min(("coverage", "recall"), key=lambda each: metrics[each] - metrics[f"{each}_floor"])
    sentence = (
        f"Something is missing: {percent(1 - metrics[name])} of the real rows have nothing generated near them (with real rows "
        f"in their place {percent(1 - metrics[f'{name}_floor'])})."
    )
    if missed is None:
        return sentence
    which = f"{quoted(missed.feature.name)} {missed.what}"
    return f"{sentence} Of these {percent(missed.share)} have {which}, of the others {percent(missed.otherwise)}."


def whole_rows(judgement: Judgement) -> Iterator[Remark]:
    """Say what distances of whole rows tell, and where W2 alone would mislead."""
    metrics, distances = judgement.metrics, judgement.distances
    p, ratio = metrics["energy_p"], 1 + distances.excess
    if p > 0.05:
        yield Remark(GOOD, f"A permutation test of the energy distance finds no difference between whole rows (p = {p:.2f}).")
    elif p <= 0.01:
        yield Remark(BAD, f"A permutation test of the energy distance finds a difference between whole rows (p = {p:.3f}).")
    if distances.is_under:
        yield Remark(
            BEWARE,
            f"W2 is {ratio:.2f} times its floor: generated rows are nearer to unseen real rows than real rows are. That is no "
            "merit; averaged rows and copies get such values.",
        )
    elif ratio < 1.1 and is_told(judgement):
        yield Remark(
            BEWARE,
            f"W2 alone would mislead here: it is {ratio:.2f} times its floor, as if all were well, while a classifier tells "
            "generated rows from real ones.",
        )
    if distances.blindness > BLIND:
        yield Remark(
            BEWARE,
            f"W2 sees little in {judgement.points['held_out'].shape[1]} coordinates: even real rows lie "
            f"{percent(distances.blindness)} as far from real rows as any two rows from each other. "
            "It then rewards averaged rows; go by the classifier.",
        )


def use(judgement: Judgement) -> Iterator[Remark]:
    """Say whether generated rows are as good to learn from as real ones."""
    useful = judgement.usefulness
    if useful is None:
        return
    score, floor, name = useful.metrics["usefulness"], useful.metrics["usefulness_floor"], quoted(useful.feature_name)
    shown = (
        f"{useful.word} {figure(score)} on real rows, {figure(floor)} after learning from real ones, "
        f"{figure(useful.guessing)} by guessing"
    )
    gain, lost = floor - useful.guessing, floor - score
    if gain < 0.02:
        yield Remark(BEWARE, f"Nothing here predicts {name}, even after learning from real rows: {shown}.")
    elif lost > max(0.1 * gain, 2 * float(np.sqrt(0.5 / judgement.samples.num_rows))):
        yield Remark(
            BAD,
            f"A model that learns {name} from generated rows does worse: {shown}.",
            severe(lost > 0.5 * gain, "models learn the wrong thing"),
        )
    else:
        yield Remark(GOOD, f"A model that learns {name} from generated rows does as well: {shown}.")


def sizes(judgement: Judgement) -> Iterator[Remark]:
    """Say what so few rows cannot show."""
    n = judgement.samples.num_rows
    if n < FEW_ROWS:
        least = 0.5 + SURE * judgement.test.error
        yield Remark(
            BEWARE,
            f"Only {n} rows stand on each side of a comparison: an AUC below {least:.2f} cannot be told from guessing, and a "
            "good verdict says little.",
        )
