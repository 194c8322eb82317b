"""How-to pages, carried out: their files, their commands in order, their lines of Python, with flows made small."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from flows import QUICK
from test_guide import PROGRAMS, ROOT, commands

SMALL = ["--jko.num-phases=1", "--training.num-steps=5", "--training.batch-size=16"]
SHORTER = {"100000": "100"}
PAGES = ("own_table", "map_populations", "condition", "own_divergence", "own_network", "own_metric", "promote")


def cells(seed: int) -> pd.DataFrame:
    """Rows of somebody: a colour, an age in steps of a half, a size, and two columns that pages leave out."""
    rng = np.random.default_rng(seed)
    colour = rng.choice(["red", "blue"], size=200)
    columns = {"colour": colour, "age": rng.integers(40, 120, size=200) / 2, "size": rng.normal(size=200).round(3)}
    return pd.DataFrame(columns | {"id": np.arange(200) % 7, "comment": ["none", "some"] * 100})


def given(page: str, folder: Path) -> None:
    """Put what a reader of the page has, and the files that the page has them write, into a folder."""
    for seed, name in enumerate(("cells", "before", "after")):
        cells(seed).to_csv(folder / f"{name}.csv", index=False)
    text = (ROOT / "docs" / "how_to" / f"{page}.md").read_text()
    for name, block in re.findall(r"```(?:python|yaml)\n# ([\w.]+)\n(.*?)```", text, re.DOTALL):
        (folder / name).write_text(block)


@pytest.mark.thorough
@pytest.mark.usefixtures("undrawn", "home", "ray_of_this_environment")  # workers look for rows in the home of this test
@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_says_can_be_done(
    page: str, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given(page, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    reference = with_two_champions() if page == "promote" else ""
    for program, *written in (each[2:] for each in commands(ROOT / "docs" / "how_to" / f"{page}.md") if each[0] == "python"):
        words = [SHORTER.get(word, word).replace("REF", reference) for word in written]
        if (program, words[0]) == ("pipeline", "run"):
            reference = trained(words[1:])
        elif program != "tune":  # a search takes too long
            quick = QUICK if words[0] in ("evaluate", "register", "promote") else []
            assert PROGRAMS[program].main([*words, *quick]) in ((0, 3) if words[0] == "promote" else (0,)), (
                words,
                capsys.readouterr(),
            )


def with_two_champions() -> str:
    """Promote two versions one after the other, and give the reference of a map that is not registered yet."""
    deploy = PROGRAMS["deploy"]
    for seed in (1, 2):
        assert deploy.main(["register", trained(["two_circles", f"--seed={seed}"]), "--name", "two_circles", *QUICK]) == 0
        assert deploy.main(["promote", "two_circles", *QUICK]) == 0
    return trained(["two_circles"])


def trained(words: list[str]) -> str:
    """Train a flow of few steps, and give the reference of its map."""
    assert PROGRAMS["pipeline"].main(["run", *words, *SMALL, *QUICK, "--json", "run.json"]) == 0
    return str(json.loads(Path("run.json").read_text())["phases"][-1]["map_ref"])


@pytest.mark.thorough
def test_the_lines_of_python_of_the_pages_run(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sjko import Flow, Jko, Recipe, Training

    monkeypatch.chdir(tmp_path)
    small = Recipe(jko=Jko(num_phases=1), training=Training(num_steps=5, batch_size=16))
    monkeypatch.setattr("sjko.Flow", lambda **parts: Flow(small, **parts))
    before, after, frame = (cells(seed).drop(columns=["id", "comment"]) for seed in range(3))
    names: dict[str, object] = {"before": before, "after": after, "frame": frame}
    for page in ("map_populations", "condition"):
        (lines,) = re.findall(r"```python\n(from .*?)```", (ROOT / "docs" / "how_to" / f"{page}.md").read_text(), re.DOTALL)
        exec(lines, names)
    moved, red = names["moved"], names["red"]
    assert isinstance(moved, pd.DataFrame)
    assert isinstance(red, pd.DataFrame)
    assert list(moved.columns) == list(before.columns)
    assert set(red["colour"]) == {"red"}
