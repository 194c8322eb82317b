"""The figures of a report: their names, which are also those of metrics and of promotion rules, and how each is read."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One figure of a report; the same of real rows in place of generated ones is called `NAME_floor`.

    Attributes:
        name: as it stands in the JSON, and later in MLflow and in `--require`.
        title: what the page calls it.
        question: the group that it is shown in.
        good: which values are good, in a word or two.
        meaning: one sentence.
        is_share: whether it lies between 0 and 1, and is drawn so.
    """

    name: str
    title: str
    question: str
    good: str
    meaning: str
    is_share: bool = False


COLUMNS, PAIRS, TOGETHER = "Is each column right?", "Do columns go together?", "Are whole rows right?"
TELL, WHERE = "Can they be told from real rows?", "Are they where real rows are?"
COPIED, USEFUL = "Are they copies?", "Are they useful?"
SAME, LESS, MORE = "as the floor", "low", "high"
FIGURES: Sequence[Figure] = (
    Figure("ks_mean", "KS, mean", COLUMNS, LESS, "Kolmogorov-Smirnov distance of a column of numbers, mean over them."),
    Figure("ks_max", "KS, largest", COLUMNS, LESS, "The same of the worst column."),
    Figure("tv_mean", "TV, mean", COLUMNS, LESS, "Total variation of a column of categories, mean over them."),
    Figure("tv_max", "TV, largest", COLUMNS, LESS, "The same of the worst column."),
    Figure(
        "correlation_error", "Correlation error, mean", PAIRS, LESS, "Difference of rank correlations and correlation ratios."
    ),
    Figure("correlation_error_max", "Correlation error, largest", PAIRS, LESS, "The same of the worst pair."),
    Figure("contingency_tv", "Contingency TV, mean", PAIRS, LESS, "Total variation of the tables of two columns of categories."),
    Figure("contingency_tv_max", "Contingency TV, largest", PAIRS, LESS, "The same of the worst pair."),
    Figure("encoded_w2", "W2", TOGETHER, SAME, "Cost of moving generated rows to real ones; under its floor is no merit."),
    Figure("encoded_sliced_w2", "Sliced W2", TOGETHER, LESS, "The same along single directions, mean over 256."),
    Figure("energy_distance", "Energy distance", TOGETHER, LESS, "Zero for equal distributions only."),
    Figure(
        "energy_p",
        "p-value of it",
        TOGETHER,
        "not near 0",
        "How often chance gives that much or more (permutation test).",
        is_share=True,
    ),
    Figure(
        "c2st_auc",
        "AUC, gradient boosting",
        TELL,
        "near 0.5",
        "0.5 is guessing, 1 is always right; cross-validated.",
        is_share=True,
    ),
    Figure(
        "c2st_logistic_auc",
        "AUC, logistic regression",
        TELL,
        "near 0.5",
        "The same of a classifier that sees means only.",
        is_share=True,
    ),
    Figure("precision", "Precision", WHERE, MORE, "Share of generated rows that lie where real rows lie.", is_share=True),
    Figure("recall", "Recall", WHERE, MORE, "Share of real rows that lie where generated rows lie.", is_share=True),
    Figure("density", "Density", WHERE, SAME, "How crowded with real rows those places are; too high is blur."),
    Figure("coverage", "Coverage", WHERE, MORE, "Share of real rows with a generated row near by.", is_share=True),
    Figure("copied_share", "Copies", COPIED, SAME, "Share of generated rows that equal a training row.", is_share=True),
    Figure(
        "near_share",
        "Near copies",
        COPIED,
        SAME,
        "Share as near to one row, beside the next, as 5 % of real rows.",
        is_share=True,
    ),
    Figure("dcr_share", "DCR share", COPIED, "near 0.5", "Share nearer to training rows than to held-out ones.", is_share=True),
    Figure(
        "usefulness",
        "Score on real rows",
        USEFUL,
        MORE,
        "Of a model that learned from generated rows; floor: real rows.",
        is_share=True,
    ),
)
"""Every figure, in the order in which they are shown."""
REQUESTED = {figure.name: f"pipeline.report.metrics:{figure.name}" for figure in FIGURES if figure.question != USEFUL}
"""Those that are metrics of a map where one asks for them: the name of each, and of its `Metric`. Usefulness is of a column."""
