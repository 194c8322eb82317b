"""The model card of a version, in Markdown."""

import json
from collections.abc import Mapping

from components.conditions import Law
from deploy.versions import code
from deploy.versions.bundle import FOLDER, Lineage
from deploy.versions.graph import example_of, input_of
from pipeline.evaluation.metrics import floor_of
from pipeline.generator import Generator
from pipeline.parts.pinning import own_parts


def _condition_lines(law: Law | None) -> list[str]:
    """Say in a model card what the map is given, and how often the data have each class."""
    if law is None:
        return []
    condition = law.condition
    if not condition.classes:
        return [f"Condition: `{condition.name}`, {condition.num_values} values, by default drawn from those of the data.", ""]
    rows = [f"| {i} | {name} | {share:.3g} |" for i, (name, share) in enumerate(zip(condition.classes, law.weights, strict=True))]
    title = f"Condition: `{condition.name}`, by default drawn with the shares of the data."
    return [title, "", "| number | class | share |", "|---|---|---|", *rows, ""]


def _input_lines(generator: Generator) -> list[str]:
    """Say in a model card what goes in and what comes out, by MLflow and by the graph."""
    endpoints, coding = generator.endpoints, generator.endpoints.coding
    points = f"points of the source in its own units, (n, {generator.dim}), as an array, tensor, frame, columns or lists"
    output = f"(n, {', '.join(map(str, endpoints.shape))}) in the data's own units"
    graph = f"The graph takes (n, {example_of(generator).shape[1]}): {input_of(generator)}"
    if coding is None:
        return [f"Input: {points}; the parameter `seed` decides what is drawn beside them. {graph}. Output: {output}."]
    columns = ", ".join(f"`{name}`" for name in coding.names)
    rows = f"rows with the columns {columns}"
    return [
        f"Input: {rows if endpoints.starts_from_rows else points}; the parameter `seed` decides what is drawn beside them. "
        f"Output: {rows}. {graph}, and gives coordinates {output}.",
    ]


def card(name: str, generator: Generator, metrics: Mapping[str, float], lineage: Lineage) -> str:
    """Write the model card of a version in Markdown: its input, its metrics with floors, its phases and its recipe."""
    phase, endpoints = generator.phase, generator.endpoints
    num_steps = phase.k + 1
    of_all = "" if lineage.flow_num_phases in (None, num_steps) else f" of the {lineage.flow_num_phases} of its flow"
    distances = {key: value for key, value in metrics.items() if floor_of(key) in metrics}
    floors = {floor_of(key) for key in distances}
    without_floor = {key: value for key, value in metrics.items() if key not in distances.keys() | floors}
    lines = [
        f"# {name}",
        "",
        f"S-JKO generator (arXiv 2402.05443): T_{phase.k}, {num_steps} JKO step{'s' if num_steps > 1 else ''}{of_all} towards "
        f"`{phase.data.target}`, "
        f"{len(generator.maps)} network evaluation{'s' if len(generator.maps) > 1 else ''} per sample.",
        "",
        *_input_lines(generator),
        "",
        *_condition_lines(endpoints.law),
        "| metric | value | floor |",
        "|---|---|---|",
        *(f"| {key} | {value:.4g} | {metrics[floor_of(key)]:.4g} |" for key, value in distances.items()),
        *(f"| {key} | {value:.4g} | |" for key, value in without_floor.items()),
        "",
        "A floor is the same distance between independent samples of the data itself.",
        "",
        f"Fingerprint {phase.fingerprint}, commit {lineage.commit}, flow run {lineage.flow_run_id}.",
        "",
        *(f"Own part: {field} `{name}`." for field, name in own_parts(phase).items()),
        *(
            [f"Their code is in `{FOLDER}/{code.CODE}`; what draws or loads runs it (`--allow-code`).", ""]
            if own_parts(phase)
            else []
        ),
        "| phase | run |",
        "|---|---|",
        *(f"| {k} | {run_id} |" for k, run_id in enumerate(lineage.phase_run_ids)),
        "",
        "```json",
        json.dumps(phase.values(), indent=1),
        "```",
        "",
    ]
    return "\n".join(lines)
