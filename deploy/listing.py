"""What is in the registry: `list` and `show`, which load neither torch nor Ray."""

from collections.abc import Mapping
from typing import Any

from deploy import flags
from deploy.versions.catalogue import aliases_of, described, models_of, versions_of
from pipeline.command import report
from pipeline.command.listing import open_store
from pipeline.errors import VersionNotFound
from pipeline.evaluation.metrics import FLOOR, HEADLINE, floor_of
from pipeline.provenance import redacted

EMPTY = "no models yet: python -m deploy register REF --name NAME"


def list_models(command: flags.List) -> Mapping[str, Any]:
    """Carry out `list`: print the registered models, and which version each alias of them points at."""
    models = {str(model.name): aliases_of(model) for model in models_of(open_store(command.store))}
    if models:
        report.table("models", ["model", "aliases"], [[name, said(aliases)] for name, aliases in models.items()])
    else:
        report.line(EMPTY)
    return {"models": [{"name": name, "aliases": aliases} for name, aliases in models.items()]}


def show(command: flags.Show) -> Mapping[str, Any]:
    """Carry out `show`: print the versions of a model, and who moved its aliases when and why.

    Raises:
        VersionNotFound: there is no such model; the error says which there are.
    """
    store, name = open_store(command.store), command.name
    models = {str(model.name): model for model in models_of(store)}
    if name not in models:
        there = f"the models {', '.join(models)}" if models else EMPTY
        raise VersionNotFound(f"{name} is not in the registry at {redacted(store.uri)}, which has {there}")
    aliases = aliases_of(models[name])
    versions = [described(version, aliases) for version in versions_of(store, name)]
    measured = dict.fromkeys(figure for version in versions for figure in version["metrics"])
    figures = [each for each in (HEADLINE, floor_of(HEADLINE)) if each in measured]
    figures += [each for each in measured if each not in figures and not each.endswith(FLOOR)]
    columns = ["version", "aliases", "phases", "registered", "by"]
    rows = [
        [
            version["version"],
            " ".join(f"@{alias}" for alias in version["aliases"]),
            *("" if version[column] is None else version[column] for column in ("num_phases", "registered", "by")),
            *(version["metrics"].get(figure, "") for figure in figures),
        ]
        for version in versions
    ]
    report.table(f"versions of {name}", [*columns, *figures], rows)
    for version in reversed(versions):
        for move in version["moves"]:
            report.line(f"version {version['version']} {move['what'].replace('_', ' ')} {spoken(move)}")
    return {"name": name, "aliases": aliases, "versions": versions}


def said(aliases: Mapping[str, int]) -> str:
    """Write aliases as a cell of a table.

    >>> said({"candidate": 3, "champion": 2})
    '@candidate = 3, @champion = 2'
    """
    return ", ".join(f"@{alias} = {number}" for alias, number in aliases.items())


def spoken(move: Mapping[str, str]) -> str:
    """Say when an alias was moved, by whom and why.

    >>> spoken({"alias": "champion", "at": "2026-01-02T03:04:05Z", "by": "ann", "because": "w2 0.5 <= 0.6"})
    '@champion 2026-01-02T03:04:05Z by ann: w2 0.5 <= 0.6'
    """
    return f"@{move['alias']} {move['at']} by {move['by']}: {move['because']}"
