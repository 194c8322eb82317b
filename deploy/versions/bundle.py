"""Our own part of a registered version: tensors, the record of its phase, the code of own parts, sealed by a manifest."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from components.conditions import Condition, Law
from deploy.versions import code
from pipeline.data.endpoints import load_source
from pipeline.data.space import Space
from pipeline.errors import Corrupt
from pipeline.generator import Generator, endpoints_of, generator_of
from pipeline.parts import travel
from pipeline.phase import Phase
from pipeline.provenance import versions
from pipeline.store import manifest

if TYPE_CHECKING:
    from pipeline.data.tables.coding import Coding

FOLDER = "sjko"
"""Folder inside a version with our own part: tensors of every map, phase.json and the manifest of their sha256 sums."""
TABLE = "table"
"""Folder inside that one with the way from samples to the rows of a table, where they are some."""


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
