"""What is in the registry, and what is taken out: `list`, `show` and `unregister`, which load neither torch nor Ray."""

from collections.abc import Mapping, Sequence
from typing import Any

from deploy import flags
from deploy.versions.catalogue import aliases_of, described, models_of, take_out, versions_of
from pipeline.command import report
from pipeline.command.listing import open_store, store_to_list
from pipeline.errors import ForeignVersion, Unusable, VersionNotFound
from pipeline.evaluation.metrics import FLOOR, HEADLINE, TAKEN, floor_of
from pipeline.provenance import redacted
from pipeline.report.figures.table import REQUESTED
from pipeline.store.phases import Store
from pipeline.words import command_line

MOST_FIGURES = 6
"""Figures of a version in its line, beside the headline's floor: more would not fit a terminal."""
IN_SHORT = ("c2st_auc", "correlation_error", "copied_share")
"""Figures of a report that say most of it: can rows be told apart, do columns go together, are they copies."""
EMPTY = "no models yet: python -m deploy register REF --name NAME"


def list_models(command: flags.List) -> Mapping[str, Any]:
    """Carry out `list`: print the registered models, and which version each alias of them points at."""
    store = store_to_list(command.store)
    models = {str(model.name): aliases_of(model) for model in (models_of(store) if store else [])}
    if models:
        report.table("models", ["model", "aliases"], [[name, aliases_in_words(aliases)] for name, aliases in models.items()])
    else:
        report.line(EMPTY)
    return {"models": [{"name": name, "aliases": aliases} for name, aliases in models.items()]}


def show(command: flags.Show) -> Mapping[str, Any]:
    """Carry out `show`: print the versions of a model, and who moved its aliases when and why.

    Raises:
        VersionNotFound: there is no such model; the error says which there are.
    """
    store, name = open_store(command.store), command.name
    aliases = aliases_in(store, name)
    versions = [described(version, aliases) for version in versions_of(store, name)]
    if not versions:
        report.line(f"{name} has no version: {command_line('python', '-m', 'deploy', 'register', 'REF', '--name', name)}")
        return {"name": name, "aliases": aliases, "versions": versions}
    measured = figures_of(versions)
    figures = chosen(measured, [move["because"] for version in versions for move in version["moves"]])
    columns = ["version", "aliases", "phases", "registered", "by"]
    rows = [
        [
            version["version"],
            " ".join(f"@{alias}" for alias in version["aliases"]),
            phases_of(version),
            *("" if version[column] is None else version[column] for column in ("registered", "by")),
            *(version["metrics"].get(figure, "") for figure in figures),
        ]
        for version in versions
    ]
    report.table(f"versions of {name}", [*columns, *figures], rows)
    if command.all:
        numbers = [f"version {version['version']}" for version in versions]
        cells = [[figure, *(version["metrics"].get(figure, "") for version in versions)] for figure in measured]
        report.table(f"figures of {name}", ["figure", *numbers], cells)
    elif more := [figure for figure in measured if figure not in figures and floor_of(figure) in measured]:
        report.line(f"{len(more)} more figures, and floors: {command_line('python', '-m', 'deploy', 'show', name, '--all')}")
    for version in reversed(versions):
        for move in version["moves"]:
            report.line(f"version {version['version']} {move['what'].replace('_', ' ')} {spoken(move)}")
    return {"name": name, "aliases": aliases, "versions": versions}


def figures_of(versions: Sequence[Mapping[str, Any]]) -> list[str]:
    """List the figures of versions: the headline, metrics by name, those of a report in its order; after each its floor."""
    of_report = list(REQUESTED)
    names = {figure.removesuffix(FLOOR) for version in versions for figure in version["metrics"]}
    ordered = sorted(names, key=lambda name: (name in of_report and of_report.index(name) + 1, name != HEADLINE, name))
    measured = {figure for version in versions for figure in version["metrics"]}
    return [figure for name in ordered for figure in (name, floor_of(name)) if figure in measured]


def chosen(figures: Sequence[str], reasons: Sequence[str]) -> list[str]:
    """Choose the figures that a line has room for: the headline, those that rules went by, metrics, some of a report.

    >>> chosen(["w2", "w2_floor", "on_support", "ks_max", "c2st_auc", "coverage"], ["ks_max 0.1 <= 0.2"])
    ['w2', 'w2_floor', 'on_support', 'ks_max', 'c2st_auc']
    """
    ruled = {reason.partition(" ")[0] for reason in reasons}
    likely = [
        name
        for name in figures
        if not name.endswith(FLOOR) and name not in TAKEN and (name not in REQUESTED or name in (*ruled, *IN_SHORT))
    ]
    first = sorted(likely, key=lambda name: (name != HEADLINE, name not in ruled))[:MOST_FIGURES]
    return [name for name in figures if name in first or (name == floor_of(HEADLINE) and HEADLINE in first)]


def unregistered(command: flags.Unregister) -> Mapping[str, Any]:
    """Carry out `unregister`: take a version out of the registry, unless an alias points at it.

    Raises:
        VersionNotFound: there is no such model or version; the error says which there are.
        ForeignVersion: another program made the version.
        Unusable: an alias points at it.
    """
    store, name, number = open_store(command.store), command.name, command.version
    aliases = aliases_in(store, name)
    versions = {version["version"]: version for version in (described(each, aliases) for each in versions_of(store, name))}
    if number not in versions:
        known = f"the versions {', '.join(map(str, sorted(versions)))}" if versions else "no version"
        raise VersionNotFound(f"{name}@{number} is not in the registry at {redacted(store.uri)}, which has of {name} {known}")
    if (fingerprint := versions[number]["fingerprint"]) is None:
        raise ForeignVersion(f"{name} version {number} is another program's: it was not made by python -m deploy register")
    pointing = versions[number]["aliases"]
    if pointing and not command.drop_aliases:
        move = command_line("python", "-m", "deploy", "promote", name, "--version", "N", "--alias", pointing[0])
        these, point = " and ".join(f"@{alias}" for alias in pointing), "points" if len(pointing) == 1 else "point"
        raise Unusable(
            f"{these} of {name} {point} at version {number}: say --drop-aliases, or first have another version there, with {move}"
        )
    take_out(store, name, number)
    dropped = f", and with it {' '.join(f'@{alias}' for alias in pointing)}" if pointing else ""
    again = command_line("python", "-m", "deploy", "register", fingerprint[:12], "--name", name)
    report.line(f"{name} version {number} is unregistered{dropped}; its map stays in the store: {again}")
    return {"name": name, "version": number, "dropped_aliases": pointing}


def aliases_in(store: Store, name: str) -> dict[str, int]:
    """Map the aliases of a model, which must be there, to the numbers of versions.

    Raises:
        VersionNotFound: it is not; the error says which models there are.
    """
    models = {str(model.name): model for model in models_of(store)}
    if name not in models:
        known = f"the models {', '.join(models)}" if models else EMPTY
        raise VersionNotFound(f"{name} is not in the registry at {redacted(store.uri)}, which has {known}")
    return aliases_of(models[name])


def phases_of(version: Mapping[str, Any]) -> str:
    """Write how many phases lead to the map of a version, and of how many that its flow has.

    >>> phases_of({"num_phases": 3, "flow_num_phases": 6})
    '3 of 6'
    """
    up_to_map, all_of_them = version["num_phases"], version["flow_num_phases"]
    return "" if up_to_map is None else f"{up_to_map}" if all_of_them in (None, up_to_map) else f"{up_to_map} of {all_of_them}"


def aliases_in_words(aliases: Mapping[str, int]) -> str:
    """Write aliases as a cell of a table.

    >>> aliases_in_words({"candidate": 3, "champion": 2})
    '@candidate = 3, @champion = 2'
    """
    return ", ".join(f"@{alias} = {number}" for alias, number in aliases.items())


def spoken(move: Mapping[str, str]) -> str:
    """Say when an alias was moved, by whom and why.

    >>> spoken({"alias": "champion", "at": "2026-01-02T03:04:05Z", "by": "ann", "because": "w2 0.5 <= 0.6"})
    '@champion 2026-01-02T03:04:05Z by ann: w2 0.5 <= 0.6'
    """
    return f"@{move['alias']} {move['at']} by {move['by']}: {move['because']}"
