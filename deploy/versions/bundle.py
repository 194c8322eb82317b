"""What a registered version holds: the generator as an exported graph, our own tensors and records, a card."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from components.conditions import Condition, Law
from components.gradients import transport
from deploy.versions import code
from pipeline.data.endpoints import load_source
from pipeline.data.space import Space
from pipeline.errors import Corrupt
from pipeline.evaluation.metrics import floor_of
from pipeline.generator import Generator, endpoints_of, generator_of
from pipeline.parts import travel
from pipeline.parts.pinning import own_parts
from pipeline.phase import Phase
from pipeline.provenance import versions
from pipeline.store import manifest

if TYPE_CHECKING:
    from pipeline.data.tables.coding import Coding

FOLDER = "sjko"
"""Folder inside a version with our own part: tensors of every map, phase.json and the manifest of their sha256 sums."""


TABLE = "table"
"""Folder inside that one with the way from samples to the rows of a table, where they are some."""


class Sampler(nn.Module):
    """The whole way from noise to samples in the data's own units, as one module that can be exported.

    `noise` has shape (n, d + z_dim + c). First comes x ~ mu in the space the flow lives in (N(0, I) unless the recipe has another
    source), then z ~ N(0, I). Then comes the condition, where the map takes one: the number of a class, or values in their own
    units.
    """

    shift: Tensor
    scale: Tensor
    mixing: Tensor | None
    mean: Tensor
    deviation: Tensor

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.maps = nn.ModuleList(generator.maps)
        self.shape = generator.endpoints.shape
        self.dim, self.z_dim = int(np.prod(self.shape)), generator.phase.network.z_dim
        space = generator.endpoints.space
        self.register_buffer("shift", torch.from_numpy(np.asarray(space.shift, dtype=np.float32)))
        self.register_buffer("scale", torch.as_tensor(space.scale, dtype=torch.float32))
        self.register_buffer("mixing", None if space.mixing is None else torch.from_numpy(space.mixing))
        self.condition = generator.endpoints.condition
        units = (0.0, 1.0) if self.condition is None or not self.condition.shift else (self.condition.shift, self.condition.scale)
        for name, numbers in zip(("mean", "deviation"), units, strict=True):
            self.register_buffer(name, torch.tensor(numbers, dtype=torch.float32))

    def forward(self, noise: Tensor) -> Tensor:
        """Map noise (n, d + z_dim + c) to samples (n, ...) in the data's own units."""
        end = self.dim + self.z_dim
        x = noise[:, : self.dim].reshape(-1, *self.shape)
        z = noise[:, self.dim : end] if self.z_dim else None
        given = None
        if self.condition is not None:
            values = (noise[:, end:] - self.mean) / self.deviation
            given = noise[:, end].round().long() if self.condition.classes else values
        for transport_map in self.maps:
            x = transport(transport_map, x, z, given)
        return self.shift + self.scale * (x if self.mixing is None else x @ self.mixing.T)


@dataclass(frozen=True)
class Lineage:
    """The origin of a version: its flow's run, the run of every phase in order, and the commit of the code.

    Attributes:
        phase_run_ids: up to the phase whose map the version holds.
        flow_num_phases: of the flow, which may go on after that one; None where nobody knows.
    """

    flow_run_id: str
    phase_run_ids: Sequence[str]
    commit: str
    flow_num_phases: int | None = None


def write(folder: Path, generator: Generator, metrics: Mapping[str, float], lineage: Lineage) -> None:
    """Write our own part of a version: averaged maps, phase with its recipe, the code of its own parts, metrics and lineage,
    under a manifest.

    Raises:
        Unusable: the code of a part is not here any more; says which.
    """
    files, space = code.packed(generator), generator.endpoints.space
    tensors = {
        f"map_{number}": {key: value.detach().cpu().contiguous() for key, value in transport_map.state_dict().items()}
        for number, transport_map in enumerate(generator.maps)
    }
    record = {
        "phase": generator.phase.to_json(),
        "fingerprint": generator.phase.fingerprint,
        "shape": list(generator.endpoints.shape),
        "scale": space.scale if isinstance(space.scale, float) else None,
        "picture": generator.endpoints.data.picture,
        "metrics": dict(metrics),
        "flow_run_id": lineage.flow_run_id,
        "phase_run_ids": list(lineage.phase_run_ids),
        "commit": lineage.commit,
        "flow_num_phases": lineage.flow_num_phases,
        "versions": versions(),
    }
    law = generator.endpoints.law
    if law is not None:
        record["condition"] = asdict(law.condition)
        tensors["law"] = {"weights": torch.from_numpy(np.array(law.weights))}
    tensors["shift"] = {name: torch.from_numpy(array) for name, array in space.arrays().items()}
    manifest.write_files(folder / FOLDER, tensors, record)
    travel.write(folder / FOLDER, files)
    coding = generator.endpoints.coding
    travel.write(folder / FOLDER / TABLE, {} if coding is None else coding.files())
    manifest.seal(folder / FOLDER)


def read(
    folder: Path, version: str, *, with_data: bool = False, data_uri: str | None = None, allow_code: bool = False
) -> Generator:
    """Read the generator from our own part of a version, every file verified.

    Args:
        folder: of the version, on this machine.
        version: names it in errors.
        with_data: load the data set as well, to measure against.
        data_uri: folder or URL of prepared image sets, as `load_endpoints` takes it.
        allow_code: run the code of own parts that the version carries or names.

    Raises:
        CodeRefused: the version has such parts, and that was not allowed.
        PartError: such a part cannot be imported, as where a package is not installed.
        Corrupt: a file does not match its manifest, which the error names, or the map gives numbers that are not finite.
    """
    bundled = folder / FOLDER
    manifest.verify(bundled)
    record = manifest.read_record(bundled)
    phase = Phase.from_json(str(record["phase"]))
    parts = code.needed(phase, with_data=with_data)
    code.require_allowed(parts, version, allow_code=allow_code)
    code.unpack(bundled, parts)
    shape = tuple(json.loads(str(record["shape"])))
    if with_data:
        endpoints = endpoints_of(phase.data, data_uri)
    else:
        picture = record.get("picture")  # which versions of earlier releases have not
        drawn, law = None if picture is None else str(picture), _law(bundled, record)
        space = _space(bundled, record)
        endpoints = load_source(phase.data, shape, space, data_uri, picture=drawn, law=law, coding=_coding(bundled))
    num_maps = sum(path.name.startswith("map_") for path in bundled.iterdir())
    generator = generator_of(phase, endpoints, (manifest.read_tensors(bundled, f"map_{number}") for number in range(num_maps)))
    if not np.isfinite(generator.sample(64)).all():
        raise Corrupt(str(bundled), "its map gives numbers that are not finite")
    return generator


def _space(bundled: Path, record: Mapping[str, object]) -> Space:
    """Read the way from the space that the flow of a version lives in to the data's own units."""
    arrays = {name: tensor.numpy() for name, tensor in manifest.read_tensors(bundled, "shift").items()}
    scale = arrays["scale"] if "scale" in arrays else float(str(record["scale"]))
    return Space(arrays["shift"], scale, arrays.get("mixing"))


def _coding(bundled: Path) -> "Coding | None":
    """Read the way from the samples of a version to a table; None where they are no rows of one."""
    files = {file.name: manifest.read_bytes(bundled, f"{TABLE}/{file.name}") for file in sorted((bundled / TABLE).glob("*"))}
    if not files:
        return None
    from pipeline.data.tables.coding import Coding  # scikit-learn, which no other version needs

    return Coding.of_files(files)


def _law(bundled: Path, record: Mapping[str, object]) -> Law | None:
    """Read the law of the condition that the map of a version is given; None where it is given none."""
    if (described := record.get("condition")) is None:
        return None
    assert isinstance(described, dict)
    return Law(Condition.of(described), manifest.read_tensors(bundled, "law")["weights"].numpy())


def require_phase(folder: Path, fingerprint: str) -> None:
    """Refuse our own part of a version that holds another phase than the one with a fingerprint.

    Raises:
        Corrupt: it does.
    """
    if Phase.from_json(str(manifest.read_record(folder / FOLDER)["phase"])).fingerprint != fingerprint:
        raise Corrupt(str(folder / FOLDER / manifest.PHASE), f"it is not the record of {fingerprint}")


def read_lineage(folder: Path) -> Lineage:
    """Read the lineage that our own part of a version records."""
    record = manifest.read_record(folder / FOLDER)
    runs = record["phase_run_ids"]
    assert isinstance(runs, list)
    num_phases = record.get("flow_num_phases")  # which versions of earlier releases have not
    assert num_phases is None or isinstance(num_phases, int)
    return Lineage(str(record["flow_run_id"]), runs, str(record["commit"]), num_phases)


def example_of(generator: Generator) -> np.ndarray:
    """Draw two rows of noise to trace a generator with: one row would fix the batch size of the exported graph at 1."""
    dim = int(np.prod(generator.endpoints.shape)) + generator.phase.network.z_dim
    noise = np.random.default_rng(0).standard_normal((2, dim), dtype=np.float32)
    condition = generator.endpoints.condition
    if condition is None:
        return noise
    empty = condition.empty(2) if condition.classes else condition.in_units(condition.empty(2))
    return np.concatenate([noise, empty.reshape(2, -1).astype(np.float32)], 1)


def input_of(generator: Generator) -> str:
    """Say what stands in the columns of a generator's noise, as the end of a sentence."""
    dim, z_dim = int(np.prod(generator.endpoints.shape)), generator.phase.network.z_dim
    first = f"{generator.phase.data.source} in its first {dim} columns"
    noise = f"{first}, then {z_dim} standard normal ones" if z_dim else first
    condition = generator.endpoints.condition
    if condition is None:
        return noise
    given = "the number of the class" if condition.classes else f"{condition.num_values} values"
    return f"{noise}, then {given} that is given, {condition.name}"


def picture(path: Path, generator: Generator) -> None:
    """Draw a picture of a generator's samples over held-out data."""
    from pipeline.evaluation.judging import draw_samples  # and with it what measures, which a replica need not

    draw_samples(path, generator, f"T_{generator.phase.k}")


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
