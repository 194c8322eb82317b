"""Pictures of one column: how often real and generated rows have each value."""

import numpy as np
from markupsafe import Markup

from pipeline.report.kinds import Feature
from pipeline.report.page.svg import MADE, REAL, Scale, element, path, picture, text

WIDTH, HEIGHT = 320.0, 150.0
LEFT, RIGHT, TOP, BOTTOM = 8.0, 312.0, 8.0, 130.0
MOST_BARS = 12
"""Numbers with at most so many different values are drawn as bars."""
MOST_ROWS = 8
"""Categories that are drawn; the rest are one bar."""
Sides = tuple[np.ndarray, np.ndarray]


def column(feature: Feature, real: np.ndarray, made: np.ndarray) -> Markup:
    """Draw one column of real and of generated rows, missing values left out."""
    sides = real[~np.isnan(real)], made[~np.isnan(made)]
    title = f"{feature.name}: real and generated values"
    if not feature.ordered:
        return _categories(feature, sides, title)
    few = np.unique(sides[0])
    if len(few) <= MOST_BARS and np.isin(sides[1], few).all():
        return _bars(feature, few, sides, title)
    return histogram(title, sides, is_date=feature.is_date, step=feature.step)


def histogram(title: str, sides: Sides, *, is_date: bool = False, step: float = 0.0, low: float | None = None) -> Markup:
    """Draw how often values lie in each of some bins: real ones as an area, generated ones as a line.

    Args:
        step: the grid of the real values, or 0: bins hold equally many of its points.
        low: where the picture begins; None: where the values do.
    """
    edges, beyond = _edges(np.concatenate(sides), step, low)
    shares = [np.histogram(side, edges)[0] / max(1, len(side)) for side in sides]
    x = Scale(float(edges[0]), float(edges[-1]), LEFT, RIGHT, is_date)
    y = Scale(0.0, float(np.max(shares)) or 1.0, BOTTOM, TOP)
    outlines = [[(x(edge), y(share)) for i, share in enumerate(each) for edge in edges[i : i + 2]] for each in shares]
    area = path([(LEFT, BOTTOM), *outlines[0], (RIGHT, BOTTOM)], closed=True)
    line = path([(LEFT, BOTTOM), *outlines[1], (RIGHT, BOTTOM)])
    drawn = [element("path", d=area, class_=f"area {REAL}"), element("path", d=line, class_=f"line {MADE}"), x.axis(BOTTOM)]
    if beyond > 0.015:
        drawn.append(text(RIGHT, 16, f"{100 * beyond:.0f} % lie beyond", anchor="end"))
    return picture(WIDTH, HEIGHT, title, *drawn)


def _edges(values: np.ndarray, step: float, begin: float | None) -> tuple[np.ndarray, float]:
    """Choose bins, and say which share of the values is in none; a long tail is cut off."""
    if not len(values):
        return np.array([0.0, 1.0]), 0.0
    low, quarter, half, most, high = np.quantile(values, [0.005, 0.25, 0.5, 0.75, 0.995])
    if high - half > 8 * (most - quarter) > 0:
        high = np.quantile(values, 0.95)
    if half - low > 8 * (most - quarter) > 0:
        low = np.quantile(values, 0.05)
    low = low if begin is None else begin
    if low >= high:
        low, high = low - 0.5, high + 0.5
    width = (high - low) / int(np.clip(np.sqrt(len(values)), 12, 40))
    if step:
        width = max(1, np.ceil(width / step - 1e-9)) * step
        low = (np.round(low / step) - 0.5) * step
    edges = low + width * np.arange(int(np.ceil((high - low) / width - 1e-9)) + 1)
    return edges, float(((values < edges[0]) | (values > edges[-1])).mean())


def _bars(feature: Feature, values: np.ndarray, sides: Sides, title: str) -> Markup:
    """Draw a pair of bars for each of a few numbers."""
    shares = [np.array([(side == value).mean() if len(side) else 0.0 for value in values]) for side in sides]
    y = Scale(0.0, float(np.max(shares)) or 1.0, BOTTOM, TOP)
    slot = (RIGHT - LEFT) / len(values)
    scale = Scale(float(values[0]), float(values[-1]), LEFT, RIGHT, feature.is_date)
    drawn = []
    for i, value in enumerate(values):
        for k, name in enumerate((REAL, MADE)):
            top = y(shares[k][i])
            at = LEFT + i * slot + slot * (0.12 + 0.38 * k)
            drawn.append(element("rect", x=at, y=top, width=slot * 0.38, height=BOTTOM - top, class_=f"fill {name}"))
        drawn.append(text(LEFT + (i + 0.5) * slot, BOTTOM + 13, scale.label(float(value)), most=8))
    return picture(WIDTH, HEIGHT, title, *drawn)


def _categories(feature: Feature, sides: Sides, title: str) -> Markup:
    """Draw a pair of bars for each category, the most frequent ones first."""
    num = len(feature.labels)
    shares = np.stack([np.bincount(side.astype(int), minlength=num) / max(1, len(side)) for side in sides])
    labels = list(feature.labels)
    if num > MOST_ROWS:
        shares = np.concatenate([shares[:, : MOST_ROWS - 1], shares[:, MOST_ROWS - 1 :].sum(1, keepdims=True)], axis=1)
        labels = [*labels[: MOST_ROWS - 1], f"{num - MOST_ROWS + 1} others"]
    x, slot = Scale(0.0, float(shares.max()) or 1.0, 96.0, 278.0), min(34.0, max(22.0, (HEIGHT - 6) / len(labels)))
    drawn = []
    for i, label in enumerate(labels):
        y = 4 + i * slot
        drawn.append(text(90.0, y + slot / 2 + 4, label, anchor="end", most=15))
        for k, name in enumerate((REAL, MADE)):
            bar = y + slot * (0.1 + 0.4 * k)
            width = x(shares[k, i]) - 96
            drawn.append(element("rect", x=96.0, y=bar, width=width, height=slot * 0.38, class_=f"fill {name}"))
            drawn.append(
                text(100 + width, bar + slot * 0.19 + 3.5, f"{100 * shares[k, i]:.0f} %", anchor="start", class_="small")
            )
    return picture(WIDTH, max(60.0, 6 + slot * len(labels)), title, *drawn)
