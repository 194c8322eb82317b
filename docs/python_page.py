"""Write docs/python.md from the docstrings of what `sjko` exports: `python docs/python_page.py`.

A test holds the file equal to what this writes.
"""

import inspect
import re
import textwrap
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import sjko

PAGE = Path(__file__).with_name("python.md")
INTRODUCTION = """\
# From Python

```python
import numpy as np
from sjko import Flow

x = np.random.default_rng(0).normal(size=(1000, 3))     # rows of numbers: also a frame, a table, a data set, a file
flow = Flow.from_yaml("two_circles", jko__num_phases=4)  # a shipped recipe, or a file of yours; or Flow(Recipe(...))
flow.fit(x)                                              # one row in five is held out
flow.sample(1000, seed=0)                                # equal seeds give equal samples
flow.transport(np.zeros((2, 3)))                         # the map itself, row by row
flow.phases[2].sample(100)                               # every phase is a finished generator
flow.report("report.html")
flow.register("mine")                                    # "models:/mine/1"; Flow.load takes it
```

`pip install -e .` makes `sjko` importable from any folder. Without a store a flow is trained in this process and keeps
nothing; with `fit(x, store=True)`, or a tracking URI of MLflow, it is the flow of `python -m pipeline run`, with the same
fingerprints, found by `show` and `list` and resumed by the same call. `fit(x, store=..., cluster=Cluster(num_workers=2))`
trains on Ray workers, in the Ray that this process has where it has one. With a store, rows are written once to the place of
prepared data (`Cluster(data=...)`), which all workers must reach.

Numbers alone become float32: integers and booleans come back as float32 too, and are not rounded. A data frame or a table with
words, dates or missing values is coded as the commands code a table (`docs/tables.md`) and comes back with its columns, types
and categories. Infinite values, identifiers and free text are refused with their column.

Rows may have a condition each: `fit(x, condition=labels)`, or `fit(frame, condition="kind")`, which takes that column out of
a frame of numbers; rows of any other table come back with it. Whole numbers, words, booleans and categories are classes;
numbers with a fraction, and rows of numbers, are values. Then `sample(100, condition="cat")` and `transport(points,
condition=...)` take one for all or one for each row, and draw them from the data's own distribution where none is given. A
class of numbers is asked for by its name: 3 is the class that was called 3.

Parts are objects, classes or names: `Flow(divergence=MyDivergence(alpha=0.5), network=MyPair, metrics=[my_metric])`. What can be
imported by its name, and has attributes with the names of its constructor's parameters, is stored with its code. Anything
else, as a class in a notebook, can be trained and used but not stored.

Ctrl-C keeps finished phases: `flow.phases` has them, and the same `fit` goes on. Errors are those of the command line:
`ValueError` for a mistake, `FlowError` for what happens to a flow.

What follows is made from the docstrings (`python docs/python_page.py`).
"""


def page() -> str:
    """Write the page: an introduction, then every public name."""
    return "\n".join([INTRODUCTION, *(section(name) for name in sjko.__all__)])


def section(name: str) -> str:
    """Describe a public name with its own methods."""
    found = getattr(sjko, name)
    head = [f"## `{name}`", "", f"`from sjko import {name}`, of `{found.__module__}`", ""]
    lines = [*head, code(f"{name}{signature(found)}"), prose(found), ""]
    if name in ("Flow", "TrainedPhase"):
        for member, value in vars(found).items():
            if not member.startswith("_"):
                inner = getattr(value, "__func__", getattr(value, "fget", getattr(value, "func", value)))
                shown = signature(inner) if callable(value) or isinstance(value, classmethod) else ""
                lines += [f"### `{name}.{member}`", "", code(f"{member}{shown}"), prose(inner), ""]
    return "\n".join(lines)


def code(text: str) -> str:
    """Set a signature as code."""
    return f"```python\n{text}\n```\n"


def signature(found: Any) -> str:
    """Write how something is called; nothing of an error."""
    if isinstance(found, type) and issubclass(found, Exception):
        return ""
    try:
        called = inspect.signature(found)
    except (TypeError, ValueError):
        return ""
    if not is_dataclass(found):
        return str(called)
    parameters = [each.replace(annotation=each.empty) for each in called.parameters.values()]  # the types of flags are long
    text = str(called.replace(parameters=parameters, return_annotation=called.empty))
    return "\n    ".join(textwrap.wrap(text.replace("<factory>", "..."), 100))


def prose(found: Any) -> str:
    """Set a docstring: its paragraphs as they are, what is indented as code."""
    parts = re.split(r"\n\n+", inspect.getdoc(found) or "")
    heads = re.compile(r"(Args|Returns|Raises|Attributes|Example):\n", re.MULTILINE)
    return "\n\n".join(f"```text\n{part}\n```" if heads.match(part) or part.startswith(" ") else part for part in parts)


if __name__ == "__main__":
    PAGE.write_text(page())
