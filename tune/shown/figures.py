"""Pictures of a search. Optuna's own are of pyplot; who draws them is a command, with one thread and no notebook's back end."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import optuna
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

from tune.definition import Search, Trial
from tune.summary import pareto


def draw(folder: Path, search: Search, trials: Sequence[Trial], study: optuna.Study) -> list[Path]:
    """Draw the pictures of a search that have something to show, and return their files."""
    folder.mkdir(parents=True, exist_ok=True)
    judged = [trial for trial in trials if trial.values]
    pictures = [_save(_by_phase(search, judged), folder / "phases.png"), _save(_slices(search, judged), folder / "slices.png")]
    if search.against_cost:
        pictures.append(_save(_pareto(search, judged), folder / "pareto.png"))
        return pictures
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        axes = optuna.visualization.matplotlib.plot_optimization_history(study, target_name=search.metric)
        pictures.append(_save(axes.figure, folder / "history.png"))
        if len(search.axes) > 1 and len({trial.best(search) for trial in judged}) > 1:
            importance = optuna.visualization.matplotlib.plot_param_importances(study, target_name=search.metric)
            pictures.append(_save(importance.figure, folder / "importance.png"))
    return pictures


def _by_phase(search: Search, trials: Sequence[Trial]) -> Figure:
    """Draw the metric after each phase, a line per trial; the best one thick."""
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    best = min(trials, key=lambda trial: trial.best(search) if search.mode == "min" else -trial.best(search))
    for trial in trials:
        first = trial is best
        style: dict[str, Any] = {"color": "C1" if first else "C0", "lw": 2.5 if first else 0.8, "zorder": 3 if first else 2}
        axes.plot(range(len(trial.values)), trial.values, marker="o", ms=3, **style)
    axes.set(xlabel="phase k", ylabel=search.metric, title="quality by phase, best trial thick")
    _scale(axes, [value for trial in trials for value in trial.values])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return _clean(figure)


def _slices(search: Search, trials: Sequence[Trial]) -> Figure:
    """Draw the best value of each trial along every axis, coloured by the first axis of choices."""
    kind = next((axis.name for axis in search.axes if axis.choices), None)
    drawn = [axis for axis in search.axes if axis.name != kind] or list(search.axes)
    figure, grid = plt.subplots(1, len(drawn), figsize=(4.5 * len(drawn), 3.8), layout="constrained", squeeze=False)
    for axes, axis in zip(grid.flat, drawn, strict=True):
        for value in dict.fromkeys(trial.point[kind] if kind else None for trial in trials):
            here = [trial for trial in trials if kind is None or trial.point[kind] == value]
            x = [str(trial.point[axis.name]) if axis.choices else trial.point[axis.name] for trial in here]
            axes.scatter(x, [trial.best(search) for trial in here], s=24, label=str(value) if kind else None)
        axes.set(xlabel=axis.name, ylabel=search.metric, **({"xscale": "log"} if axis.log else {}))
        _scale(axes, [trial.best(search) for trial in trials])
    if kind:
        grid.flat[0].legend(title=kind, frameon=False, fontsize=8)
    return _clean(figure)


def _pareto(search: Search, trials: Sequence[Trial]) -> Figure:
    """Draw every phase of every trial, quality against cost, and the Pareto front."""
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for trial in trials:
        axes.scatter(trial.seconds, trial.values, s=10, color="C0", alpha=0.5, linewidths=0)
    front = pareto(search, trials)
    axes.step([point[0] for point in front], [point[1] for point in front], where="post", color="C1", marker="o", ms=4)
    axes.set(xlabel="seconds of training", ylabel=search.metric, title="quality against cost; line: Pareto front")
    _scale(axes, [value for trial in trials for value in trial.values])
    return _clean(figure)


def _scale(axes: Axes, values: Sequence[float]) -> None:
    """Make the vertical axis logarithmic, unless no value is above zero, as distances between equal data are."""
    if any(value > 0 for value in values):
        axes.set(yscale="log")


def _clean(figure: Figure) -> Figure:
    for axes in figure.axes:
        assert isinstance(axes, Axes)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _save(figure: Figure | SubFigure, path: Path) -> Path:
    assert isinstance(figure, Figure)
    figure.savefig(path, dpi=110, bbox_inches="tight")
    plt.close(figure)
    return path
