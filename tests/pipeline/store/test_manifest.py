"""A folder exists only when its manifest verifies."""

import json
from pathlib import Path

import pytest
import torch

from pipeline.errors import Corrupt
from pipeline.store import manifest

TENSORS = {"map": {"weight": torch.arange(6.0).reshape(2, 3)}, "potential": {"bias": torch.ones(3)}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    manifest.write(tmp_path / "phase", TENSORS, {"k": 3})
    return tmp_path / "phase"


def test_what_is_written_is_read_back(folder: Path) -> None:
    manifest.verify(folder)
    assert torch.equal(manifest.read_tensors(folder, "map")["weight"], TENSORS["map"]["weight"])
    assert manifest.read_record(folder) == {"k": 3}


def test_only_safetensors_and_json_are_written(folder: Path) -> None:
    assert {path.suffix for path in folder.iterdir()} == {".safetensors", ".json"}


@pytest.mark.parametrize("name", ["map.safetensors", "potential.safetensors", "phase.json"])
@pytest.mark.parametrize("position", [0, 0.5, -1])
def test_one_flipped_bit_is_found_and_the_file_named(folder: Path, name: str, position: float) -> None:
    content = bytearray((folder / name).read_bytes())
    content[int(position * len(content)) if position >= 0 else -1] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(Corrupt, match=name.replace(".", r"\.")):
        manifest.verify(folder)
    with pytest.raises(Corrupt, match=name.replace(".", r"\.")):
        manifest.read_record(folder) if name == "phase.json" else manifest.read_tensors(folder, name.removesuffix(".safetensors"))


@pytest.mark.parametrize("name", ["map.safetensors", "phase.json", "manifest.json"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(Corrupt, match=name.replace(".", r"\.")):
        manifest.verify(folder)


def test_files_in_folders_inside_are_held_as_well(tmp_path: Path) -> None:
    path = tmp_path / "code" / "deeper" / "it.py"
    path.parent.mkdir(parents=True)
    path.write_text("x = 1")
    manifest.seal(tmp_path)
    assert manifest.names(tmp_path) == ["code/deeper/it.py"]
    assert manifest.read_bytes(tmp_path, "code/deeper/it.py") == b"x = 1"
    path.write_text("x = 2")
    with pytest.raises(Corrupt, match=r"it\.py is corrupt: its sha256"):
        manifest.verify(tmp_path)


def test_a_truncated_file_is_found(folder: Path) -> None:
    path = folder / "map.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(Corrupt, match="map"):
        manifest.verify(folder)


OUTSIDE = ["../../etc/passwd", "/etc/passwd", "code/../../passwd", "code//passwd", "./passwd", "..\\\\passwd", "."]


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"sha256": []}', *(f'{{"sha256": {{"{name}": "00"}}}}' for name in OUTSIDE)]
)
def test_a_manifest_that_is_none_is_corrupt(folder: Path, content: str) -> None:
    (folder / manifest.MANIFEST).write_text(content)
    with pytest.raises(Corrupt, match=r"manifest\.json"):
        manifest.verify(folder)


def test_a_file_that_the_manifest_does_not_name_is_never_read(folder: Path) -> None:
    (folder / "planted.safetensors").write_bytes((folder / "map.safetensors").read_bytes())
    with pytest.raises(Corrupt, match="planted"):
        manifest.read_tensors(folder, "planted")


def test_a_pickle_with_a_valid_sum_is_refused_not_loaded(folder: Path, tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(2)}, folder / "map.safetensors")
    sums = json.loads((folder / manifest.MANIFEST).read_text())
    sums["sha256"]["map.safetensors"] = manifest._sha256(folder / "map.safetensors")
    (folder / manifest.MANIFEST).write_text(json.dumps(sums))
    with pytest.raises(Corrupt, match=r"map\.safetensors"):
        manifest.read_tensors(folder, "map")
