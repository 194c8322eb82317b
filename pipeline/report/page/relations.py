"""Pictures of several columns: associations as a map of squares, single pairs, whole rows seen from their widest side."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from pipeline.report.figures.pairs import PairFigures
from pipeline.report.findings.remarks import figure
from pipeline.report.kinds import Feature
from pipeline.report.page.svg import MADE, REAL, Scale, element, path, picture, text

MOST_POINTS = 600
PANEL, LEFT = 190.0, 58.0
MOST_CATEGORIES = 6
Rows = tuple[np.ndarray, np.ndarray]


def squares(title: str, features: Sequence[Feature], values: dict[tuple[int, int], float], *, signed: bool = True) -> Markup:
    """Draw a value for each pair of columns: its size as opacity, its sign as colour."""
    names = [feature.name for feature in features]
    num, margin = len(names), 84.0
    side = max(9.0, min(34.0, 300 / num))
    drawn = []
    for i, name in enumerate(names):
        drawn.append(text(margin - 5, margin + (i + 0.5) * side + 3.5, name, anchor="end", most=13))
        x, y = margin + (i + 0.5) * side + 3.5, margin - 5
        short = name if len(name) <= 13 else f"{name[:12]}…"
        drawn.append(element("text", short, transform=f"translate({x:.1f} {y:.1f}) rotate(-60)", class_="tick"))
    for (i, j), value in values.items():
        for row, column in ((i, j), (j, i)):
            kind = "minus" if signed and value < 0 else "plus" if signed else "differs"
            told = element("title", f"{names[row]}, {names[column]}: {value:.2f}")
            place = {"x": margin + column * side, "y": margin + row * side, "width": side - 1.5, "height": side - 1.5}
            if side >= 12:
                drawn.append(element("rect", **place, class_="cell"))
            drawn.append(element("rect", told, **place, class_=kind, fill_opacity=f"{min(1.0, abs(value)):.2f}"))
            if side >= 26:
                at = place["x"] + side / 2 - 0.75, place["y"] + side / 2 + 2.5
                drawn.append(text(*at, figure(value).replace("0.", "."), class_="value"))
    size = margin + num * side
    return picture(size + 30, size, title, *drawn)


def pair(features: Sequence[Feature], figures: PairFigures, real: np.ndarray, made: np.ndarray) -> Markup:
    """Draw one pair of columns, real rows at the left, generated ones at the right."""
    first, second = (features[number] for number in figures.numbers)
    sides = real[:, figures.numbers], made[:, figures.numbers]
    sides = sides[0][~np.isnan(sides[0]).any(1)], sides[1][~np.isnan(sides[1]).any(1)]
    title = f"{first.name} and {second.name}, real and generated"
    if first.ordered and second.ordered:
        return scatter(title, sides, (first.name, second.name), (first.is_date, second.is_date))
    if first.ordered:
        first, second, sides = second, first, (sides[0][:, ::-1], sides[1][:, ::-1])
    return _boxes(title, first, second, sides) if second.ordered else _table(title, first, second, sides)


def scatter(title: str, sides: Rows, names: tuple[str, str], dates: tuple[bool, bool] = (False, False)) -> Markup:
    """Draw points in two panels with the same axes."""
    pooled = np.concatenate(sides)
    limits = np.quantile(pooled, [0.005, 0.995], axis=0) if len(pooled) else np.array([[0.0, 0.0], [1.0, 1.0]])
    limits = np.where(limits[:1] == limits[1:], limits + np.array([[-0.5], [0.5]]), limits)
    margin = 0.04 * (limits[1] - limits[0])
    (left, bottom), (right, top) = limits[0] - margin, limits[1] + margin
    drawn = []
    for k, (name, side) in enumerate(zip((REAL, MADE), sides, strict=True)):
        begin = LEFT + k * (PANEL + 16)
        x = Scale(float(left), float(right), begin, begin + PANEL, dates[0])
        y = Scale(float(bottom), float(top), PANEL + 8, 8.0, dates[1])
        drawn.append(element("rect", x=begin, y=8.0, width=PANEL, height=PANEL, class_="frame"))
        shown = side[:MOST_POINTS]
        inside = ((shown >= [left, bottom]) & (shown <= [right, top])).all(1)
        dots = "".join(f"M{x(a):.1f} {y(b):.1f}h0" for a, b in shown[inside])
        drawn.append(element("path", d=dots, class_=f"dots {name}"))
        drawn.append(x.axis(PANEL + 8))
        drawn.append(text(begin + 6, 21, "real" if name == REAL else "generated", anchor="start", class_="name"))
        if k == 0:
            drawn += [text(begin - 4, y(tick) + 3.5, y.label(tick), anchor="end", most=8) for tick in y.ticks()]
    drawn.append(text(LEFT + PANEL + 8, PANEL + 36, names[0], class_="name", most=40))
    drawn.append(element("text", names[1][:30], transform=f"translate(9 {PANEL / 2 + 8:.0f}) rotate(-90)", class_="name middle"))
    return picture(LEFT + 2 * PANEL + 24, PANEL + 42, title, *drawn)


def _boxes(title: str, categories: Feature, numbers: Feature, sides: Rows) -> Markup:
    """Draw the middle and the spread of a number in each category: a tenth, the quarters, the median, nine tenths."""
    pooled = np.concatenate([side[:, 1] for side in sides])
    low, high = np.quantile(pooled, [0.02, 0.98])
    x = Scale(float(low), float(high) if high > low else float(low) + 1, 104.0, 430.0, numbers.is_date)
    drawn, y = [], 10.0
    for place, label in enumerate(categories.labels[:MOST_CATEGORIES]):
        drawn.append(text(98.0, y + 17, label, anchor="end", most=16))
        for k, name in enumerate((REAL, MADE)):
            values = sides[k][sides[k][:, 0] == place, 1]
            at = y + 8 + 13 * k
            if len(values):
                tenth, quarter, middle, third, ninth = (
                    x(float(np.clip(each, x.low, x.high))) for each in np.quantile(values, [0.1, 0.25, 0.5, 0.75, 0.9])
                )
                drawn.append(element("path", d=path([(tenth, at), (ninth, at)]), class_=f"line {name}"))
                drawn.append(
                    element("rect", x=quarter, y=at - 4.5, width=max(1.0, third - quarter), height=9.0, class_=f"fill {name}")
                )
                drawn.append(element("path", d=path([(middle, at - 4.5), (middle, at + 4.5)]), class_="middle-line"))
        y += 36
    drawn.append(x.axis(y, 5))
    drawn.append(text(267.0, y + 28, numbers.name, class_="name", most=40))
    return picture(440, y + 34, title, *drawn)


def _table(title: str, first: Feature, second: Feature, sides: Rows) -> Markup:
    """Draw the shares of the pairs of categories."""
    rows, columns = first.labels[:MOST_CATEGORIES], second.labels[:MOST_CATEGORIES]
    side, drawn = 30.0, []
    width = 80 + 2 * (len(columns) * side + 16)
    shares = []
    for side_rows in sides:
        cells = [
            [((side_rows[:, 0] == i) & (side_rows[:, 1] == j)).mean() for j in range(len(columns))] for i in range(len(rows))
        ]
        shares.append(np.array(cells))
    most = max(float(each.max()) for each in shares) or 1.0
    for k, name in enumerate((REAL, MADE)):
        begin = 84 + k * (len(columns) * side + 16)
        for j, label in enumerate(columns):
            at = f"translate({begin + (j + 0.5) * side + 3:.1f} 56) rotate(-50)"
            drawn.append(element("text", label[:9], transform=at, class_="tick"))
        for i, label in enumerate(rows):
            if k == 0:
                drawn.append(text(78.0, 62 + (i + 0.5) * side + 3, label, anchor="end", most=13))
            for j in range(len(columns)):
                share = float(shares[k][i, j])
                place = {"x": begin + j * side, "y": 62 + i * side, "width": side - 1.5, "height": side - 1.5}
                drawn.append(element("rect", **place, class_="cell"))
                drawn.append(element("rect", **place, class_=f"fill {name}", fill_opacity=f"{share / most:.2f}"))
                drawn.append(text(place["x"] + side / 2 - 0.75, place["y"] + side / 2 + 3, f"{100 * share:.0f}", class_="value"))
    return picture(max(width + 20, 300), 70 + len(rows) * side, title, *drawn)


def widest(title: str, real: np.ndarray, made: np.ndarray) -> Markup:
    """Draw whole rows on the two directions in which real ones spread most.

    Args:
        real, made: points in the encoded coordinates.
    """
    from sklearn.decomposition import PCA

    directions = PCA(min(2, real.shape[1]), random_state=0).fit(real)
    sides = [directions.transform(each) for each in (real, made)]
    flat = [np.column_stack([each, np.zeros(len(each))])[:, :2] for each in sides]
    return scatter(title, (flat[0], flat[1]), ("first principal direction", "second"))
