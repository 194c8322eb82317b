"""The page of all fields of a recipe, and of where it runs, made from the dataclasses and the texts under their fields."""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from components.table import NETWORK_PAIRS, network_pair
from pipeline.cluster import Cluster
from pipeline.evaluation.size import Evaluation
from pipeline.recipe import GROUPS, Recipe

INTRODUCTION = """\
# Fields of a recipe

A recipe decides what is computed. Each field is a line of YAML and a flag: `jko: {h: 0.5}` is `--jko.h 0.5`.
All fields of this first part are in the identity of a phase, where they have an influence on it.

```yaml
# my.yaml: python -m pipeline run my.yaml
data: {target: gauss25}
jko: {num_phases: 8, h: 1.0, divergence: kl}
```

Some kinds of network have [defaults of their own](#defaults-by-kind-of-network).
"""
ELSEWHERE = """\
# Where and how it runs

These are flags and no fields of a recipe. They are in no identity: a phase is the same wherever it was trained.
"""


def page() -> str:
    """Write the page."""
    groups = [group(name, kind) for name, kind in GROUPS.items()]
    seed = f"## Seed\n\n{HEAD}\n" + row("seed", Recipe, "seed")
    places = [group("cluster", Cluster, "Cluster and stores"), group("evaluation", Evaluation)]
    return "\n\n".join([INTRODUCTION, *groups, seed, by_kind(), ELSEWHERE.replace("# ", "## ", 1), *places]) + "\n"


HEAD = "| field | default | what it is |\n|---|---|---|"


def group(name: str, kind: type, title: str | None = None) -> str:
    """Write the table of a group of fields, under the first line of its docstring."""
    said = (inspect.getdoc(kind) or "").partition("\n")[0]
    rows = [row(field_name(name, kind, each.name), kind, each.name) for each in fields(kind)]
    return "\n".join([f"## {title or name.capitalize()}", "", said, "", HEAD, *rows])


def field_name(group: str, kind: type, name: str) -> str:
    """Find the dotted name of a field: its flag's own, where it has one."""
    marks = get_args(get_type_hints(kind, include_extras=True)[name])
    return next((mark.name.replace("-", "_") for mark in marks if getattr(mark, "name", None)), f"{group}.{name}")


def row(dotted: str, kind: type, name: str) -> str:
    """Write a field's row of a table."""
    attribute = next(each for each in fields(kind) if each.name == name)
    text = texts(kind).get(name, "").replace("|", "\\|").replace("\n", " ")
    values = choices(get_type_hints(kind)[name])
    listed = f"; one of {', '.join(f'`{each}`' for each in values)}" if values else ""
    return f"| `{dotted}` | `{shown(attribute.default)}` | {text}{listed} |"


def shown(value: Any) -> str:
    """Write a default as YAML has it."""
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None or value == () else f"{value:g}" if isinstance(value, float) else str(value)


def choices(kind: Any) -> list[str]:
    """List the words of a field that takes few of them; none of a field that takes names of data."""
    words = ["true", "false"] if bool in get_args(kind) else []
    for each in (kind, *get_args(kind)):
        if get_origin(each) is Literal:
            words += [str(word) for word in get_args(each)]
    return words if len(words) < 12 else []


def texts(kind: type) -> dict[str, str]:
    """Read the texts that stand under the fields of a dataclass, and of those it extends."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__[:-1]):
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(each))).body
        assert isinstance(body, ast.ClassDef)
        found |= dict(under_fields(body))
    return found


def under_fields(body: ast.ClassDef) -> Iterator[tuple[str, str]]:
    """List the fields of a class with the text under each."""
    for before, after in zip(body.body, body.body[1:], strict=False):
        if isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name) and isinstance(after, ast.Expr):
            yield before.target.id, inspect.cleandoc(str(ast.literal_eval(after.value)))


def by_kind() -> str:
    """Write the defaults that each kind of network has in place of the general ones."""
    rows = []
    for kind in NETWORK_PAIRS:
        given = ", ".join(f"`{name}: {shown(value)}`" for name, value in network_pair(kind).defaults.items())
        rows.append(f"| `{kind}` | {given or 'those above'} |")
    return "\n".join(["## Defaults by kind of network", "", "| `network.kind` | defaults |", "|---|---|", *rows])
