"""SVG by hand: elements that escape what they hold, scales with round ticks, frames around charts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from markupsafe import Markup

DAY = 86_400.0
REAL, MADE = "real", "made"
"""Classes of what shows real rows and generated ones; the page's style has their colours, light and dark."""


def element(tag: str, *children: str, **attributes: object) -> Markup:
    """Write an element; text in it and in its attributes is escaped, `class_` and `stroke_width` are class and stroke-width.

    >>> element("text", "a < b", x=1.5, class_="soft")
    Markup('<text x="1.5" class="soft">a &lt; b</text>')
    """
    written = [(name.rstrip("_").replace("_", "-"), _short(value)) for name, value in attributes.items()]
    opened = Markup("").join(Markup(' {}="{}"').format(name, value) for name, value in written)
    # elements are named by this package alone
    name = Markup(tag)  # nosec B704
    return Markup("<{0}{1}>{2}</{0}>").format(name, opened, Markup("").join(children))


def _short(value: object) -> object:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else value


def picture(width: float, height: float, title: str, *children: str) -> Markup:
    """Write a picture that scales to its place; readers of screens get its title."""
    named = (element("title", title), *children)
    return element("svg", *named, viewBox=f"0 0 {width:g} {height:g}", role="img", aria_label=title)


def text(x: float, y: float, words: str, *, anchor: str = "middle", class_: str = "tick", most: int = 24) -> Markup:
    """Write words at a place, cut where they are long."""
    shown = words if len(words) <= most else f"{words[: most - 1]}…"
    whole = [element("title", words)] if shown != words else []
    return element("text", shown, *whole, x=x, y=y, text_anchor=anchor, class_=class_)


@dataclass(frozen=True)
class Scale:
    """A line from the numbers `low` to `high` on the picture's places `begin` to `end`.

    >>> Scale(0, 10, 100, 200)(5)
    150.0
    """

    low: float
    high: float
    begin: float
    end: float
    is_date: bool = False

    def __call__(self, value: float) -> float:
        width = self.high - self.low
        return self.begin + (self.end - self.begin) * ((value - self.low) / width if width > 0 else 0.5)

    def ticks(self, most: int = 5) -> list[float]:
        """Find round numbers, or the begins of years, months, days or hours, in the range."""
        if self.is_date and self.high - self.low > 60 * DAY:
            return self._months(most - 1)
        step = _round_step((self.high - self.low) / most) if not self.is_date else self._time_step(most - 1)
        first = math.ceil(self.low / step)
        count = math.floor((self.high - first * step) / step + 1e-9) + 1
        return [(first + i) * step for i in range(count)]

    def _time_step(self, most: int) -> float:
        width = (self.high - self.low) / most
        return next(
            (step for step in (3600.0, 3 * 3600.0, 6 * 3600.0, DAY, 2 * DAY, 5 * DAY, 10 * DAY) if step >= width), 20 * DAY
        )

    def _months(self, most: int) -> list[float]:
        begin, end = (np.datetime64(int(each), "s").astype("datetime64[M]") for each in (self.low, self.high))
        num = int((end - begin).astype(int))
        step = next((each for each in (1, 2, 3, 6, 12, 24, 60, 120) if num / each <= most), 240)
        months = np.arange(begin, end + 1)
        chosen = [float(month.astype("datetime64[s]").astype(int)) for month in months if int(month.astype(int)) % step == 0]
        return [each for each in chosen if self.low <= each <= self.high]

    def label(self, value: float) -> str:
        """Write a number, or a date, as it stands beside a tick."""
        if not self.is_date:
            return f"{value:.6g}"
        if self.low >= 0 and self.high <= DAY:
            return f"{int(value // 3600):02d}:{int(value // 60 % 60):02d}"
        forms = {1500: "%Y", 60: "%Y-%m", 3: "%m-%d", 0: "%d. %H:%M"}
        form = next(form for days, form in forms.items() if self.high - self.low >= days * DAY)
        return datetime.fromtimestamp(value, UTC).strftime(form)

    def _anchor(self, tick: float) -> str:
        """Keep the words of a tick near an end within the chart."""
        room = 3.2 * len(self.label(tick)) - 6
        return "start" if self(tick) - self.begin < room else "end" if self.end - self(tick) < room else "middle"

    def axis(self, y: float, most: int = 5) -> Markup:
        """Draw the axis below a chart."""
        marks = [text(self(tick), y + 13, self.label(tick), anchor=self._anchor(tick)) for tick in self.ticks(most)]
        line = element("line", x1=self.begin, x2=self.end, y1=y, y2=y, class_="axis")
        return Markup("").join([line, *marks])


def _round_step(width: float) -> float:
    size = 10.0 ** math.floor(math.log10(width)) if width > 0 else 1.0
    return next(size * factor for factor in (1, 2, 5, 10) if size * factor >= width * (1 - 1e-9)) if width > 0 else size


def path(points: Sequence[tuple[float, float]], *, closed: bool = False) -> str:
    """Write the `d` of a line through points."""
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) + ("Z" if closed else "")
