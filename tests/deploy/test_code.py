"""Versions with parts of somebody's own: their code goes along, and runs where it was allowed and is the one that is meant."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from flows import QUICK, tiny, train
from own_parts import written

from components.parts import loading
from components.parts.code import PREFERRED, UNPACKED, USED, code_of
from deploy.cli import main
from deploy.flavour.sjko_sampler import GRAPH
from deploy.models import Draw, Models, draw
from deploy.service import configured
from deploy.versions import bundle
from deploy.versions.code import CODE, CodeRefused
from deploy.versions.registry import Registry
from pipeline.errors import Corrupt, Unusable
from pipeline.recipes.loading import load_recipe
from pipeline.store import manifest
from pipeline.store.phases import Store

Say = Callable[[], str]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Say:
    """What a command has printed as its error."""
    return lambda: capsys.readouterr().err.strip().splitlines()[-1]


def registered(folder: Path, patch: pytest.MonkeyPatch, store: Store, module: str, shift: str = "x + ") -> None:
    """A trained flow of own parts, registered under the name `mine`; `shift` begins what the network gives."""
    folder.mkdir(exist_ok=True)
    path = written(folder, patch, module)
    source = folder / f"{module}.py"
    source.write_text(source.read_text().replace("return x + ", f"return {shift}"))
    ref = train(load_recipe(str(path)), store)[-1].ref
    assert main(["register", ref.run_id, "--name", "mine", *QUICK]) == 0


def elsewhere(folder: Path, patch: pytest.MonkeyPatch, module: str) -> None:
    """This process as on a machine that never saw the folder."""
    patch.setattr(sys, "path", [path for path in sys.path if path != str(folder)])
    loading._made.cache_clear()
    for name in [name for name in sys.modules if name.startswith(module)]:
        patch.delitem(sys.modules, name)


@pytest.fixture
def no_code_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing that a version brought along is left behind."""
    monkeypatch.setattr("deploy.versions.code.UNPACKED", (copy := dict(UNPACKED)))
    monkeypatch.setattr("components.parts.loading.UNPACKED", copy)
    yield
    PREFERRED.clear()


@pytest.mark.slow
@pytest.mark.usefixtures("no_code_left")
def test_a_version_with_own_parts_draws_without_its_author_where_its_code_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Store, said: Say
) -> None:
    home = tmp_path / "author"
    registered(home, monkeypatch, store, "version_a")
    here = Models(store.uri, "mine", "1", allow_code=True).current
    expected = draw(here.last, Draw(20, 0))
    assert "Own part: jko.cost `version_a:Huber(delta=2.0)@" in here.card
    elsewhere(home, monkeypatch, "version_a")
    for command in (["export", "mine@1", "--to", f"{tmp_path}/map.pt2"], ["promote", "mine", *QUICK]):
        assert main(command) == 2
        assert "error: mine version 1 runs code that it brings along or names: " in (sentence := said())
        assert "network.kind version_a:Plain@" in sentence
        assert sentence.endswith("allow it with --allow-code (`allow_code: true` among the args in deploy/serve.yaml)")
    assert not (tmp_path / "map.pt2").exists()
    assert main(["serve", "mine@1"]) == 2
    assert "mine version 1 runs code that it brings along" in said()
    registry = Registry(store)
    with registry.folder(registry.require("mine", "1")) as folder:  # the model in MLflow's own flavour
        graph = torch.export.load(folder / "data" / "graph" / GRAPH).module()
        assert graph(torch.zeros(5, 6)).shape == (5, 6)
    loaded = Models(store.uri, "mine", "1", allow_code=True)
    np.testing.assert_array_equal(draw(loaded.current.last, Draw(20, 0)), expected)
    assert draw(loaded.phase(loaded.current, 0), Draw(3, 0)).shape == (3, 6)
    assert main(["export", "mine@1", "--to", f"{tmp_path}/map.pt2", "--allow-code"]) == 0
    assert main(["promote", "mine", "--allow-code", *QUICK]) == 0
    assert "version_a" not in sys.modules


@pytest.mark.slow
@pytest.mark.usefixtures("no_code_left")
def test_versions_with_different_code_of_one_name_are_served_beside_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    registered(tmp_path / "one", monkeypatch, store, "version_b")
    registered(tmp_path / "two", monkeypatch, store, "version_b", "100 + x + ")
    expected = [draw(Models(store.uri, "mine", each, allow_code=True).current.last, Draw(9, 0)) for each in ("1", "2")]
    assert expected[1].mean() > expected[0].mean() + 50
    for folder in (tmp_path / "one", tmp_path / "two"):
        elsewhere(folder, monkeypatch, "version_b")
    models = Models(store.uri, "mine", "2", allow_code=True)
    for which, samples in zip(("1", "2"), expected, strict=True):
        np.testing.assert_array_equal(draw(models.find(which).last, Draw(9, 0)), samples)
        np.testing.assert_array_equal(draw(models.phase(models.find(which), 1), Draw(9, 0)), samples)


@pytest.mark.usefixtures("no_code_left")
def test_code_that_is_not_the_one_that_is_meant_never_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Store, said: Say
) -> None:
    home = tmp_path / "author"
    registered(home, monkeypatch, store, "version_c")
    registry = Registry(store, allow_code=True)
    elsewhere(home, monkeypatch, "version_c")
    with registry.folder(registry.require("mine", "1")) as folder:
        (path,) = (folder / bundle.FOLDER / CODE).rglob("version_c.py")
        path.write_text(f"open('{tmp_path}/ran', 'w')\n{path.read_text()}")
        with pytest.raises(Corrupt, match=r"version_c\.py is corrupt: its sha256 is not the manifest's"):
            bundle.read(folder, "it", allow_code=True)
        manifest.seal(folder / bundle.FOLDER)
        with pytest.raises(Corrupt, match=r"it is not the code of version_c:Plain@"):
            bundle.read(folder, "it", allow_code=True)
    assert not (tmp_path / "ran").exists()


def test_a_version_that_names_what_is_here_anyway_needs_permission_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    """Else who may write to the registry chooses what is called, and with what."""
    registered(tmp_path, monkeypatch, store, "version_d")
    registry = Registry(store)
    with registry.folder(registry.require("mine", "1")) as folder:
        with pytest.raises(CodeRefused, match=r"^it runs code .* network\.kind version_d:Plain@"):
            bundle.read(folder, "it")
        path = folder / bundle.FOLDER / manifest.PHASE
        record = json.loads(path.read_text())
        phase = json.loads(record["phase"])
        phase["problem"]["network"]["kind"] = f"pathlib:Path.touch(self='{tmp_path}/ran')"
        path.write_text(json.dumps(record | {"phase": json.dumps(phase)}))
        manifest.seal(folder / bundle.FOLDER)
        with pytest.raises(CodeRefused, match=r"^it runs code .* network\.kind pathlib:Path\.touch"):
            bundle.read(folder, "it")


@pytest.mark.slow
@pytest.mark.usefixtures("no_code_left")
def test_a_package_that_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Store, said: Say
) -> None:
    library, home = tmp_path / "library", tmp_path / "author"
    library.mkdir()
    (library / "some_library.py").write_text("X = 1\n")
    monkeypatch.syspath_prepend(library)
    home.mkdir()
    path = written(home, monkeypatch, "version_e")
    (home / "version_e.py").write_text("import some_library\n" + (home / "version_e.py").read_text())
    ref = train(load_recipe(str(path)), store)[-1].ref
    assert main(["register", ref.run_id, "--name", "mine", *QUICK]) == 0
    for folder in (home, library):
        elsewhere(folder, monkeypatch, "version_e")
    monkeypatch.delitem(sys.modules, "some_library")
    assert main(["export", "mine@1", "--to", f"{tmp_path}/map.pt2", "--allow-code"]) == 2
    assert "version_e cannot be imported: ModuleNotFoundError: No module named 'some_library'" in said()


def test_what_has_changed_since_it_was_trained_is_not_registered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Store, said: Say
) -> None:
    path = written(tmp_path, monkeypatch, "version_f")
    path.write_text(
        "jko: {divergence: {use: version_f:Alpha, alpha: 3}, num_phases: 1}\ntraining: {num_steps: 3, batch_size: 16}\n"
    )
    ref = train(load_recipe(str(path)), store)[-1].ref
    helper = tmp_path / "version_f_powers.py"
    helper.write_text(helper.read_text() + "# changed\n")
    assert main(["register", ref.run_id, "--name", "mine", *QUICK]) == 2
    assert "error: jko.divergence: version_f:Alpha has changed: its code is " in said()
    assert main(["export", "mine@1", "--to", f"{tmp_path}/map.pt2"]) == 2
    assert "no models yet" in said()


def test_a_pair_that_would_draw_on_this_machine_alone_is_not_registered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Store, said: Say
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "version_h.py").write_text(PACKAGE)
    (tmp_path / "shift.txt").write_text("0.5")
    ref = train(tiny(1, kind="version_h:Pair", num_frequencies=0), store)[-1].ref
    assert main(["register", ref.run_id, "--name", "mine", *QUICK]) == 2
    sentence = said()
    assert "error: network.kind: version_h:Pair fails: FileNotFoundError" in sentence
    assert sentence.endswith("make version_h.py the __init__.py of a folder version_h that has them")
    assert main(["export", "mine@1", "--to", f"{tmp_path}/map.pt2"]) == 2
    assert "no models yet" in said()


def test_a_divergence_of_ones_own_needs_no_permission_to_draw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    (home := tmp_path / "author").mkdir()
    path = written(home, monkeypatch, "version_g")
    path.write_text(
        "jko: {divergence: {use: version_g:Alpha, alpha: 3}, num_phases: 1}\ntraining: {num_steps: 3, batch_size: 16}\n"
    )
    ref = train(load_recipe(str(path)), store)[-1].ref
    assert main(["register", ref.run_id, "--name", "mine", *QUICK]) == 0
    elsewhere(home, monkeypatch, "version_g")
    assert draw(Models(store.uri, "mine", "1").current.last, Draw(5, 0)).shape == (5, 2)


def test_permission_in_a_file_is_true_or_false() -> None:
    with pytest.raises(ValueError, match=r"args\.allow_code must be true or false, not 'no'"):
        configured({"tracking_uri": "http://x", "name": "n", "which": "1", "allow_code": "no"})


PACKAGE = """
from pathlib import Path

from torch import nn

from components.networks.pair import NetworkPair


class Shifted(nn.Module):
    def __init__(self, spec):
        super().__init__()
        self.shift = float((Path(__file__).parent / "shift.txt").read_text())
        self.net = nn.Linear(spec.sample_shape[0], spec.sample_shape[0])

    def forward(self, x, z):
        return x + self.shift + 0.01 * self.net(x)


class Score(nn.Module):
    def __init__(self, spec):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(spec.sample_shape[0], 8), nn.SiLU(), nn.Linear(8, 1))

    def forward(self, x):
        return self.net(x).squeeze(1)


class Pair(NetworkPair):
    takes = frozenset({"width"})

    def build_map(self, spec):
        return Shifted(spec)

    def build_potential(self, spec):
        return Score(spec)
"""


@pytest.mark.slow
@pytest.mark.usefixtures("no_code_left")
def test_the_data_files_of_a_version_are_its_own_also_where_its_code_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    (tmp_path / "shifting").mkdir()
    (tmp_path / "shifting" / "__init__.py").write_text(PACKAGE)
    data = tmp_path / "shifting" / "shift.txt"
    data.write_text("0.5")
    monkeypatch.syspath_prepend(tmp_path)
    ref = train(tiny(1, kind="shifting:Pair", num_frequencies=0), store)[-1].ref
    assert main(["register", ref.run_id, "--name", "mine", *QUICK]) == 0
    expected = draw(Models(store.uri, "mine", "1", allow_code=True).current.last, Draw(9, 0))
    data.write_text("-0.5")  # after which the same code makes another map
    with pytest.raises(Unusable, match=r"shifting:Pair@.*: this process has used this code with other data files than "):
        Models(store.uri, "mine", "1", allow_code=True)
    USED.discard(code_of("shifting").digest)  # as in a process of its own
    loading._made.cache_clear()
    for _ in range(2):
        loaded = Models(store.uri, "mine", "1", allow_code=True).current.last
        np.testing.assert_array_equal(draw(loaded, Draw(9, 0)), expected)
    with pytest.raises(
        ValueError, match="shifting:Pair: a version that this process has loaded carries this code with other data"
    ):
        load_recipe("moons", network__kind="shifting:Pair")
