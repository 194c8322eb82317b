"""Own parts in sub-processes: what is sent along, what is too large, and what a sub-process says that has no such part."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from flows import train
from own_parts import written

from components.parts.code import TRAVELLING, UNPACKED, code_of, find_what_travelled
from components.parts.loading import _made, load, pinned
from components.parts.naming import PartError
from pipeline.cluster import Cluster
from pipeline.parts import travel
from pipeline.recipes.loading import load_recipe
from pipeline.store.phases import Store


def package(folder: Path, name: str) -> Path:
    """A package with modules that import each other relatively, a data file and what is left by tools."""
    path = folder / name
    for inner in ("inner", "__pycache__", ".hidden"):
        (path / inner).mkdir(parents=True)
    (path / "__init__.py").write_text("from .inner.table import numbers\n")
    (path / "inner" / "__init__.py").write_text("")
    (path / "inner" / "table.py").write_text(
        "from pathlib import Path\n\nimport numpy as np\n\n\ndef numbers():\n"
        "    return np.loadtxt(Path(__file__).with_name('table.csv'), delimiter=',')\n"
    )
    (path / "inner" / "table.csv").write_text("\n".join(f"{i},{i * i}" for i in range(50)))
    (path / "__pycache__" / "old.pyc").write_text("")
    (path / ".hidden" / "secret").write_text("")
    return path


def test_one_folder_travels_with_the_code_by_digest_and_the_data_of_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, monkeypatch, "travel_a")
    package(tmp_path, "travel_package")
    names = [pinned("travel_a:Alpha"), "travel_a:Huber", "travel_package:numbers", "jsd", "numpy:ones(shape=3)", ":in_memory"]
    (folder,) = travel.py_modules(names)
    assert Path(folder).name == TRAVELLING
    found = {path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file()}
    one, two = code_of("travel_a").digest, code_of("travel_package").digest
    inner = [f"{two}/travel_package/inner/{name}" for name in ("__init__.py", "table.py", "table.csv")]
    assert found == {f"{one}/travel_a.py", f"{one}/travel_a_powers.py", f"{two}/travel_package/__init__.py", *inner}
    assert code_of("travel_a", Path(folder) / one).digest == one
    assert travel.py_modules(["jsd", "numpy:ones(shape=3)"]) == []


def test_a_sub_process_finds_what_travelled_before_what_is_installed_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, other = tmp_path / "author", tmp_path / "other"
    for folder in (home, other):
        package(folder, "travel_found")
    (other / "travel_found" / "inner" / "table.py").write_text("def numbers():\n    return 'of another version'\n")
    monkeypatch.syspath_prepend(home)
    name = pinned("travel_found:numbers")
    (sent,) = travel.py_modules([name])
    monkeypatch.setattr(sys, "path", [str(other), str(Path(sent).parent), *(path for path in sys.path if path != str(home))])
    for module in [module for module in sys.modules if module.startswith("travel_found")]:
        monkeypatch.delitem(sys.modules, module)
    find_what_travelled.cache_clear()
    _made.cache_clear()
    try:
        assert pinned("travel_found:numbers") == name
        assert load(name, {}, np.ndarray).shape == (50, 2)
        assert Path(sys.modules["travel_found"].__file__ or "").is_relative_to(sent)
    finally:
        find_what_travelled.cache_clear()
        UNPACKED.pop(name.partition("@")[2])


def test_a_package_with_a_large_file_is_refused_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = package(tmp_path, "travel_large")
    monkeypatch.syspath_prepend(tmp_path)
    with (path / "model.bin").open("wb") as file:
        file.truncate(2**31)  # holds no blocks
    with pytest.raises(PartError, match=r"^travel_large:numbers: .* at most 64 MiB .* travel_large/model.bin \(2,147,483,648 "):
        travel.py_modules(["travel_large:numbers"])


def test_what_a_runtime_environment_has_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, monkeypatch, "travel_b")
    environment: dict[str, object] = {"working_dir": "here", "excludes": ["/*"]}
    travel.sent_along(environment, ["travel_b:Alpha"], json.dumps({"runtime_env": {"py_modules": ["gcs://before.zip"]}}))
    before, folder = environment.pop("py_modules")  # type: ignore[misc]
    assert before == "gcs://before.zip"
    assert environment == {"working_dir": "here", "excludes": ["/*", f"!/{next(Path(folder).iterdir()).name}"]}
    untouched: dict[str, object] = {"excludes": ["/*"]}
    travel.sent_along(untouched, ["jsd"])
    assert untouched == {"excludes": ["/*"]}


def test_a_sub_process_without_the_part_says_which_where_and_what_to_do() -> None:
    with pytest.raises(
        travel.PartMissing, match=r"^jko\.cost: nowhere:Cost: no module nowhere .*, in a sub-process of Ray on .*; install "
    ):
        travel.require([("jko.cost", "nowhere:Cost@0123456789ab")])
    with pytest.raises(travel.PartMissing, match=r"^jko\.cost: mine is an object in the memory of another process; only "):
        travel.require([("jko.cost", ":mine")])
    travel.require([("jko.cost", "numpy:ones")])


KILLED = """
import os
import signal

if os.getpid() != DRIVER and not os.path.exists("MARK"):
    open("MARK", "w").close()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.real
@pytest.mark.usefixtures("no_ray")
def test_workers_that_never_saw_the_folder_train_with_own_parts_also_after_one_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    path, mark = written(tmp_path, monkeypatch, "travel_c"), tmp_path / "killed"
    module = tmp_path / "travel_c.py"
    module.write_text(KILLED.replace("DRIVER", str(os.getpid())).replace("MARK", str(mark)) + module.read_text())
    recipe = load_recipe(str(path))
    results = train(recipe, store, Cluster(num_workers=2))
    assert [result.cached for result in results] == [False, False]
    assert mark.exists()
    assert all(result.cached for result in train(recipe, store, Cluster()))


@pytest.mark.thorough
@pytest.mark.usefixtures("one_ray")
def test_a_ray_that_was_there_before_and_lacks_the_part_is_told_of_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    recipe = load_recipe(str(written(tmp_path, monkeypatch, "travel_d")))
    with pytest.raises(
        travel.PartMissing, match=r"^data\.target: travel_d:windows: no module travel_d .*, in a sub-process of Ray on "
    ) as told:
        train(recipe, store, Cluster(num_workers=1, max_failures=3))
    assert told.value.exit_code == 2
    (run,) = store.select("tags.`sjko.kind` = 'phase'")
    assert run.info.status == "FAILED"
