"""Pictures of samples, phases and curves, each written to a file.

Nothing here is pyplot's, which is for one thread, and whose back end is that of a user's notebook.
"""

import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imsave
from PIL.Image import Image, fromarray

from pipeline.data.source import Samples

MAX_PANELS = 8
PER_ROW = 10
"""Images of each class in a picture of classes."""
FRAMES_PER_PHASE, FRAMES_PER_SECOND, HOLD = 8, 12, 12
BLUE, GREY = "#1f5fa8", "#c9c9c9"


def _tile(samples: Samples, rows: int, columns: int) -> np.ndarray:
    """Set the first rows x columns images into one picture, each with a border of one pixel."""
    images = np.clip((samples[: rows * columns] + 1) / 2, 0, 1).transpose(0, 2, 3, 1)
    images = np.pad(images, ((0, rows * columns - len(images)), (1, 1), (1, 1), (0, 0)), constant_values=1.0)
    _, height, width, channels = images.shape
    grid = images.reshape(rows, columns, height, width, channels).transpose(0, 2, 1, 3, 4)
    return np.repeat(grid.reshape(rows * height, columns * width, channels), 1 if channels == 3 else 3, axis=2)


def _limits(reference: Samples) -> tuple[np.ndarray, np.ndarray]:
    low, high = reference[:, :2].min(0), reference[:, :2].max(0)
    margin = 0.15 * (high - low)
    return low - margin, high + margin


@dataclass(frozen=True)
class Drawing:
    """A way to draw samples of one kind of source.

    Attributes:
        onto: draws samples, with held-out ones behind them, onto axes.
        png: draws samples alone, as the bytes of a PNG.
        by_class: draws the samples of each class apart, with the names of the classes and held-out samples behind them, onto
            axes.
    """

    onto: Callable[[Axes, Samples, Samples], None]
    png: Callable[[Samples], bytes]
    by_class: Callable[[Axes, Sequence[Samples], Sequence[str], Samples], None]


def _sheet(axes: Axes, samples: Samples, reference: Samples) -> None:
    """Draw a sheet of images."""
    axes.imshow(_tile(samples, 6, 6), interpolation="nearest")


def _sheet_png(samples: Samples) -> bytes:
    """Draw all images as one sheet that is about square."""
    content, side = io.BytesIO(), math.isqrt(len(samples) - 1) + 1
    imsave(content, _tile(samples, side, side), format="png")
    return content.getvalue()


def _scatter(axes: Axes, samples: Samples, reference: Samples) -> None:
    """Draw points over grey held-out points in the first two coordinates."""
    low, high = _limits(reference)
    axes.scatter(*_plane(reference), s=2, c=GREY, linewidths=0)
    axes.scatter(*_plane(samples), s=2, c=BLUE, linewidths=0, alpha=0.7)
    axes.set_xlim(low[0], high[0])
    if samples.shape[1] > 1:
        axes.set_ylim(low[1], high[1])
        axes.set_aspect("equal")


def _scatter_png(samples: Samples) -> bytes:
    """Draw points in the first two coordinates."""
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    axes.scatter(*_plane(samples), s=3, c=BLUE, linewidths=0)
    axes.set_aspect("equal")
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110)
    return content.getvalue()


def _rows_of_classes(axes: Axes, by_class: Sequence[Samples], names: Sequence[str], reference: Samples) -> None:
    """Draw a sheet of images with a row for each class."""
    sheet = _tile(np.concatenate([samples[:PER_ROW] for samples in by_class]), len(by_class), PER_ROW)
    axes.imshow(sheet, interpolation="nearest")
    height = len(sheet) / len(by_class)
    axes.set_yticks([height * (row + 0.5) for row in range(len(by_class))], names, fontsize=7)


def _scatter_classes(axes: Axes, by_class: Sequence[Samples], names: Sequence[str], reference: Samples) -> None:
    """Draw points in a colour for each class over grey held-out points."""
    low, high = _limits(reference)
    axes.scatter(*_plane(reference), s=2, c=GREY, linewidths=0)
    colours = colormaps["hsv"](np.linspace(0, 1, len(by_class), endpoint=False))
    for samples, name, colour in zip(by_class, names, colours, strict=True):
        axes.scatter(*_plane(samples), s=2, color=colour, linewidths=0, label=name)
    axes.set_xlim(low[0], high[0])
    if reference.shape[1] > 1:
        axes.set_ylim(low[1], high[1])
        axes.set_aspect("equal")
    axes.legend(frameon=False, fontsize=7, markerscale=4, loc="upper right", ncols=1 + len(names) // 13)


def _plane(samples: Samples) -> tuple[np.ndarray, np.ndarray]:
    """Take the first two coordinates; points on a line have the second one 0."""
    return samples[:, 0], samples[:, 1] if samples.shape[1] > 1 else 0 * samples[:, 0]


DRAWINGS = {
    "points": Drawing(_scatter, _scatter_png, _scatter_classes),
    "images": Drawing(_sheet, _sheet_png, _rows_of_classes),
}
"""Ways to draw samples, by the name that a source has for its own in `Source.picture`."""


def _panel(axes: Axes, picture: str, samples: Samples, reference: Samples, title: str) -> None:
    axes.set_title(title, fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])
    DRAWINGS[picture].onto(axes, samples, reference)


def phase_picture(path: Path, picture: str, samples: Samples, reference: Samples, title: str) -> None:
    """Draw samples of one phase over held-out data, to a file."""
    figure = Figure(figsize=(5, 5), layout="constrained")
    _panel(figure.subplots(), picture, samples, reference, title)
    _save(figure, path)


def class_picture(
    path: Path, picture: str, by_class: Sequence[Samples], names: Sequence[str], reference: Samples, *, title: str
) -> None:
    """Draw the samples of each class of a conditional flow, images in a row for each, to a file."""
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])
    DRAWINGS[picture].by_class(axes, by_class, names, reference)
    _save(figure, path)


def png(picture: str, samples: Samples) -> bytes:
    """Draw samples as the bytes of a PNG."""
    return DRAWINGS[picture].png(samples)


def flow_picture(path: Path, picture: str, by_phase: Sequence[Samples], reference: Samples, titles: Sequence[str]) -> None:
    """Draw the samples of each phase in a panel of its own, thinned evenly to eight that have the first and the last."""
    indices = np.unique(np.linspace(0, len(by_phase) - 1, min(len(by_phase), MAX_PANELS)).round().astype(int))
    columns = min(4, len(indices))
    rows = -(-len(indices) // columns)
    figure = Figure(figsize=(3 * columns, 3.2 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(indices) :]:
        axes.set_axis_off()
    for axes, index in zip(grid.flat, indices, strict=False):
        _panel(axes, picture, by_phase[index], reference, titles[index])
    _save(figure, path)


def curves_picture(
    path: Path, quality: Mapping[str, Sequence[float | None]], losses: Mapping[str, Sequence[tuple[float, float]]]
) -> None:
    """Draw distances by phase, each as a multiple of its floor, and the losses over all steps of the flow."""
    figure = Figure(figsize=(4 * (1 + len(losses)), 3.2), layout="constrained")
    grid = figure.subplots(1, 1 + len(losses), squeeze=False)[0]
    for name, values in quality.items():
        plotted = [math.nan if value is None else value for value in values]
        grid[0].plot(range(len(plotted)), plotted, marker="o", ms=4, color=BLUE, label=f"{name} over its floor")
    grid[0].axhline(1.0, color="k", lw=0.8, ls="--", label="floor")
    grid[0].set(xlabel="phase k", title="distance to held-out data", ylim=(0, None))
    grid[0].legend(frameon=False)
    for axes, (name, points) in zip(grid[1:], losses.items(), strict=True):
        axes.plot([x for x, _ in points], [y for _, y in points], lw=0.8, color=BLUE)
        axes.set(xlabel="step of the flow", title=name)
    for axes in grid:
        axes.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def animation(path: Path, picture: str, by_phase: Sequence[Samples], reference: Samples, titles: Sequence[str]) -> None:
    """Animate a flow as a loop: each x moves on the line from T_{k-1}(x) to T_k(x), as along a Wasserstein geodesic.

    The axes are laid out once and the last frame, which stays, is drawn once: both are most of what matplotlib takes for a frame.
    """
    figure = Figure(figsize=(4, 4.2), layout="constrained", dpi=80)
    axes, canvas = figure.subplots(), FigureCanvasAgg(figure)
    _panel(axes, picture, by_phase[0], reference, titles[0])
    figure.draw_without_rendering()
    figure.set_layout_engine("none")

    def drawn(samples: Samples, title: str) -> Image:
        for artist in (*axes.collections, *axes.images):
            artist.remove()
        axes.set_title(title, fontsize=10)
        DRAWINGS[picture].onto(axes, samples, reference)
        canvas.draw()  # type: ignore[no-untyped-call]
        return fromarray(np.array(canvas.buffer_rgba())).convert("RGB")  # type: ignore[no-untyped-call]

    frames = [
        drawn((1 - share) * before + share * after, title)
        for before, after, title in zip(by_phase[:-1], by_phase[1:], titles[1:], strict=True)
        for share in np.arange(FRAMES_PER_PHASE) / FRAMES_PER_PHASE
    ]
    frames.append(drawn(by_phase[-1], titles[-1]))
    duration = 1000 // FRAMES_PER_SECOND
    durations = [duration] * (len(frames) - 1) + [duration * HOLD]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations, loop=0)


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
