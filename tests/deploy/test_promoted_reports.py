"""Figures of a report as rules of promotion: measured on fresh rows where a rule names one, and logged to the map's run."""

import json
from pathlib import Path

import pytest
from flows import QUICK, tiny, train

from deploy.cli import main
from deploy.versions.registry import Registry
from pipeline.store.phases import Store


@pytest.mark.slow
@pytest.mark.usefixtures("home")
def test_a_rule_may_name_a_figure_that_nobody_has_measured_before(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ref = train(tiny(), store)[-1].ref
    assert main(["register", ref.run_id, "--name", "moons", *QUICK]) == 0
    assert not store.metric_history(ref.run_id, "c2st_auc")
    result = tmp_path / "promoted.json"
    assert main(["promote", "moons", "--require", "c2st_auc <= 0.55", *QUICK, "--json", str(result)]) == 3
    assert "moons version 1 is not promoted: c2st_auc " in capsys.readouterr().err
    assert Registry(store).find("moons", "champion") is None
    (logged,) = store.metric_history(ref.run_id, "c2st_auc")
    assert 0.55 < logged[1] <= 1
    # of 200 rows an AUC scatters by a tenth; one is at most 1, and a floor near a half
    assert main(["promote", "moons", "--require", "c2st_auc <= 3 * floor", *QUICK, "--json", str(result)]) == 0
    promoted = json.loads(result.read_text())
    assert promoted["value"] == promoted["metrics"]["c2st_auc"] <= 3 * promoted["metrics"]["c2st_auc_floor"]
    assert store.metric_history(ref.run_id, "c2st_auc_floor")[-1][1] == promoted["metrics"]["c2st_auc_floor"]
    assert main(["promote", "moons", "--require", "recall >= 0.1 * champion", *QUICK]) == 0
    assert main(["promote", "moons", "--require", "usefulness >= 0", *QUICK]) == 2
    assert "a figure of a report: ks_mean" in capsys.readouterr().err
