"""Compiled code on a disk is loaded only under its hash."""

import json
import os
from pathlib import Path

import picture_sets as sets
import pytest

from pipeline.training import compiled_code
from pipeline.training.compiled_code import SUMS, keep_code, remove_damaged, use_checked_code


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What a phase leaves: a library and its source."""
    folder = tmp_path / "checked"
    (folder / "ab").mkdir(parents=True)
    (folder / "ab" / "cab.main.so").write_bytes(bytes(range(256)))
    (folder / "ab" / "cab.main.cpp").write_text("int main;")
    (folder / "ab" / "cab.lock").touch()
    keep_code(folder)
    return folder


def test_whole_files_stay_and_what_was_not_finished_goes(folder: Path) -> None:
    assert set(json.loads((folder / SUMS).read_text())) == {"ab/cab.main.so", "ab/cab.main.cpp"}
    (folder / "ab" / "half.main.so").write_bytes(b"of a process that was killed")
    remove_damaged(folder)
    assert sorted(path.name for path in (folder / "ab").iterdir()) == ["cab.lock", "cab.main.cpp", "cab.main.so"]


@pytest.mark.parametrize("record", ["whole", "gone", "no JSON"])
def test_a_damaged_library_is_never_loaded(record: str, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    sets.flip_a_byte(folder / "ab" / "cab.main.so")
    keep_code(folder)  # of a phase that used it: what is known stays known
    if record == "gone":
        (folder / SUMS).unlink()
    elif record == "no JSON":
        (folder / SUMS).write_text("{")
    remove_damaged(folder)
    assert not list(folder.rglob("*.so"))
    if record == "whole":
        assert caplog.messages == [f"{folder}/ab/cab.main.so is damaged: steps are compiled again"]


def test_inductor_is_told_of_the_folder_and_a_child_process_uses_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(compiled_code.VARIABLE, str(folder.parent))
    monkeypatch.setattr(compiled_code, "_in_use", {})
    assert use_checked_code() == use_checked_code() == folder
    assert os.environ[compiled_code.VARIABLE] == str(folder)
    sets.flip_a_byte(folder / "ab" / "cab.main.so")
    monkeypatch.setattr(compiled_code, "_in_use", dict(compiled_code._in_use))  # keeps the first one's lock open
    held = compiled_code._in_use.copy()
    compiled_code._in_use.clear()
    assert use_checked_code() == folder, "not a folder inside of it"
    assert list(folder.rglob("*.so")), "another process is using it"
    for lock in (*held.values(), *compiled_code._in_use.values()):
        lock.close()
    compiled_code._in_use.clear()
    use_checked_code()
    assert not list(folder.rglob("*.so"))
    compiled_code._in_use.popitem()[1].close()
