"""Metrics and pictures of published maps, and every shipped recipe run short."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import picture_sets as sets
import pytest
from flows import QUICK, tiny, train
from PIL import Image
from sklearn.utils import Bunch

from benchmarks.flows import train_flow
from components import measures
from components.streams import stream
from components.table import network_pair
from pipeline.command import cli
from pipeline.data.endpoints import load_endpoints
from pipeline.errors import AmbiguousReference, FlowError, MapNotFound
from pipeline.evaluation import built_in, figures
from pipeline.evaluation.draws import held_out
from pipeline.evaluation.measure import evaluate, floors
from pipeline.evaluation.metrics import means
from pipeline.evaluation.size import FULL
from pipeline.generator import Generator, load_generator
from pipeline.recipe import Data, Recipe
from pipeline.recipes.reading import RECIPES
from pipeline.store.phases import Store


def shortened(name: str) -> Recipe:
    command = cli.PROGRAM.read(["run", name])
    assert isinstance(command, cli.Run)
    recipe = command.resolved()
    jko = replace(recipe.jko, num_phases=min(2, recipe.jko.num_phases), num_points=min(200, recipe.jko.num_points))
    return replace(recipe, jko=jko, training=replace(recipe.training, num_steps=3, batch_size=8))


SHIPPED = [path.stem for path in sorted(RECIPES.glob("*.yaml")) if not network_pair(shortened(path.stem).network.kind).sides]
"""Those with networks for images are run in test_image_flows.py, on data of their shape."""


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_recipe_runs_shortened_and_its_map_draws_samples(name: str) -> None:
    """By the pipeline's loop; what is published of a flow are the same weights (test_flow.py)."""
    *_, last = train_flow(shortened(name))
    draws_samples(last.generator)


@pytest.mark.thorough
@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_recipe_is_published_and_loaded(name: str, store: Store) -> None:
    draws_samples(load_generator(store, train(shortened(name), store)[-1].ref))


def draws_samples(generator: Generator) -> None:
    samples = generator.sample(16)
    assert samples.shape == (16, *generator.endpoints.shape)
    assert np.isfinite(samples).all()
    assert np.array_equal(samples, generator.sample(16)), "equal draws give equal samples"
    assert not np.array_equal(samples, generator.sample(16, draw=1))


@pytest.mark.parametrize("target", ["gaussian", "gauss25", "two_circles", "digits"])
@pytest.mark.parametrize("standardise", [True, False])
def test_the_space_of_the_flow_and_the_datas_units_are_related_by_one_similarity(target: str, standardise: bool) -> None:
    endpoints = load_endpoints(Data(target=target, standardise=standardise))
    inside = endpoints.target.sample(4000, stream(0, "target"))
    assert inside.dtype == np.float32
    flat = inside.reshape(4000, -1)
    if standardise:
        assert np.abs(flat.mean(0)).max() < 0.1
        assert flat.var(0).mean() == pytest.approx(1, rel=0.05)
    units = endpoints.to_units(inside).reshape(4000, -1)
    reference = endpoints.data.held_out(400, stream(0, "evaluation_target")).reshape(400, -1)
    assert units.mean() == pytest.approx(reference.mean(), abs=0.15 * float(reference.std()) + 0.02)
    assert units.std() == pytest.approx(reference.std(), rel=0.1)


def test_a_source_measure_keeps_its_place_relative_to_the_target() -> None:
    endpoints = load_endpoints(Data(source="moons", target="spiral"))
    back = endpoints.to_units(endpoints.source.sample(1000, stream(0, "source")))
    assert np.allclose(back, measures.MOONS.sample(1000, stream(0, "source")), atol=1e-5)


def test_held_out_images_are_never_training_images() -> None:
    endpoints = load_endpoints(Data(target="digits", standardise=False))
    train_images = {image.tobytes() for image in endpoints.target.sample(20_000, stream(0, "target"))}
    held = endpoints.data.held_out(10_000, stream(0, "evaluation_target"))
    assert len(held) == endpoints.data.num_distinct == 500
    assert len({image.tobytes() for image in held} & train_images) <= 2, "the scans themselves hold next to no duplicates"


def test_data_of_another_content_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    blank = Bunch(images=np.zeros((600, 8, 8)))
    monkeypatch.setattr("sklearn.datasets.load_digits", lambda: blank)
    with pytest.raises(FlowError, match=r"data\.target: digits on this machine has sha256"):
        load_endpoints(Data(target="digits"))


@pytest.mark.real
def test_a_perfect_generator_is_at_the_floor_and_a_bad_one_above() -> None:
    endpoints = load_endpoints(Data(target="two_circles"))
    distances = {"w2": built_in.W2}
    (floor,) = floors(Data(target="two_circles"), FULL, 0, None, tuple(distances.items())).values()
    target = measures.TWO_CIRCLES
    perfect = [(target.sample(2000, stream(9, "target", step=i)), held_out(endpoints, i)) for i in range(4)]

    def w2(pairs: list[tuple[np.ndarray, np.ndarray]]) -> float:
        return means(distances, {built_in.PAIRS.views: [built_in.Pair(x, y) for x, y in pairs]})["w2"]

    assert 0.6 < w2(perfect) / floor < 1.6, "the scatter of a mean of four pairs is 7 %"
    one_ring = [(x[np.linalg.norm(x, axis=1) > 6][:900], y) for x, y in perfect]
    assert w2(one_ring) > 3 * floor


@pytest.mark.slow
def test_the_command_line_evaluates_lists_and_shows_what_was_trained(
    store: Store, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = train(tiny(num_phases=2, target="gauss8"), store)
    path = tmp_path / "out.json"
    assert cli.main(["evaluate", str(results[1].ref), *QUICK, "--json", str(path)]) == 0
    metrics = json.loads(path.read_text())["metrics"]
    assert {"w2", "w2_floor", "sliced_w2", "modes_covered", "on_support", "mode_kl"} <= metrics.keys()
    assert all(np.isfinite(value) for value in metrics.values())
    assert cli.main(["evaluate", results[1].ref.fingerprint[:8], *QUICK, "--json", str(path)]) == 0
    assert json.loads(path.read_text())["metrics"] == metrics
    flow = store.flows()[0].info.run_id
    assert cli.main(["show", flow, "--json", str(path)]) == 0
    assert [row["k"] for row in json.loads(path.read_text())["phases"]] == [0, 1]
    assert cli.main(["list", "--json", str(path)]) == 0
    assert [row["run_id"] for row in json.loads(path.read_text())["flows"]] == [flow]
    assert (home / "evaluations" / f"{results[1].ref.fingerprint}.png").exists()
    capsys.readouterr()


@pytest.mark.parametrize("reference", ["", "x", "../../etc/passwd", "0123456", "runs:/../phase", "' or 1=1 --", "%"])
def test_a_reference_that_is_none_is_refused(reference: str, store: Store) -> None:
    with pytest.raises(MapNotFound):
        store.resolve(reference)


def test_an_ambiguous_reference_is_refused_with_its_candidates(store: Store) -> None:
    for fingerprint in ("abcdef001", "abcdef002"):
        tags = {"sjko.fingerprint": fingerprint, "sjko.kind": "phase", "sjko.k": "0"}
        store.client.create_run(store._experiment_id, tags=tags)
    with pytest.raises(AmbiguousReference, match="abcdef001, abcdef002"):
        store.resolve("abcdef00")


@pytest.mark.slow
def test_a_whole_run_writes_json_pictures_and_their_artifacts(
    store: Store, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "out.json"
    arguments = [
        "run",
        "gauss25",
        "--jko.num-phases",
        "2",
        "--training.num-steps",
        "20",
        "--training.batch-size",
        "16",
        *QUICK,
        "--json",
    ]
    assert cli.main([*arguments, str(path)]) == 0
    summary = json.loads(path.read_text())
    assert summary["run_id"] == store.flows()[0].info.run_id
    assert [set(row) for row in summary["phases"]] == [
        {"k", "fingerprint", "cached", "seconds", "trained_on", "evaluated_on", "losses", "metrics", "map_ref"}
    ] * 2
    row = summary["phases"][1]
    assert set(row["losses"]) == {"potential_loss", "map_loss", "transport_cost", "gradient_penalty"}
    assert {"w2", "w2_floor", "sliced_w2", "modes_covered", "divergence", "transport_cost"} <= set(row["metrics"])
    (folder,) = (home / "flows").iterdir()
    for name in ("samples_by_phase.png", "curves.png", "flow.gif"):
        with Image.open(folder / name) as picture:
            colours = picture.convert("RGB").getcolors(maxcolors=10**6)
            assert colours is not None
            assert len(colours) > 20, "not blank"
            if name == "flow.gif":
                assert picture.n_frames >= figures.FRAMES_PER_PHASE * 2, "the frames that hold the end are one long one"
    logged = {file.path for file in store.client.list_artifacts(summary["run_id"], "pictures")}
    assert logged == {f"pictures/{name}" for name in ("samples_by_phase.png", "curves.png", "flow.gif")}
    phase_run = row["map_ref"].split("/")[1]
    assert [file.path for file in store.client.list_artifacts(phase_run, "pictures")] == ["pictures/samples.png"]
    assert cli.main([*arguments, str(path)]) == 0
    again = json.loads(path.read_text())
    assert [r["cached"] for r in again["phases"]] == [True, True]
    assert [r["metrics"] for r in again["phases"]] == [r["metrics"] for r in summary["phases"]]
    assert "W2" in capsys.readouterr().out


@pytest.mark.real
def test_two_phases_of_the_shipped_recipe_bring_both_rings_near_the_floor(store: Store) -> None:
    """The promise of `make run` at a third of its length: 1.5 x floor after all six phases, 1.1 in practice after two."""
    command = cli.PROGRAM.read(["run", "two_circles", "--jko.num-phases", "2"])
    assert isinstance(command, cli.Run)
    results = train(command.resolved(), store)
    metrics = evaluate(load_generator(store, results[-1].ref))
    assert metrics["w2"] <= 1.5 * metrics["w2_floor"]
    assert metrics["modes_covered"] == metrics["modes"] == 2
    assert metrics["mode_kl"] < 0.01
    assert metrics["on_support"] > 0.93


def test_floors_of_a_finite_set_take_no_image_twice_and_all_where_more_are_asked_for() -> None:
    """1,297 training and 500 held-out scans, next to no two of which are equal."""
    endpoints = load_endpoints(Data(target="digits", standardise=False))
    for draw in range(4):
        seen = endpoints.data.seen(500, stream(0, "evaluation_floor", step=draw))
        assert len({image.tobytes() for image in seen}) >= 498
    assert not np.array_equal(seen, endpoints.data.seen(500, stream(0, "evaluation_floor")))
    everything = endpoints.data.seen(10_000, stream(0, "evaluation_floor"))
    assert len(everything) == 1297
    train_images = {image.tobytes() for image in endpoints.target.sample(20_000, stream(0, "target"))}
    assert {image.tobytes() for image in seen} <= train_images
    assert endpoints.data.num_distinct == 500


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--num-images", "0"], "--num-images must be at least 2, not 0"),
        (["--num-images", "-3"], "--num-images must be at least 2, not -3"),
        (["--num-images", "1", "--extractor", "lenet"], "--num-images must be at least 2, not 1"),
        (["--extractor", "inception"], "--extractor inception needs --weights"),
        (["--extractor", "lenet", "--weights", "x"], "--weights is for --extractor inception, not for lenet"),
        (
            ["--extractor", "fid"],
            "--extractor must be one of lenet, lenet_digits, effnet, inception or package.module:name of your own, not fid",
        ),
        (["--weights", "x"], "--weights is for --extractor, which is not given"),
    ],
)
def test_flags_of_evaluate_that_cannot_work_are_refused_at_once(
    flags: list[str], sentence: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["evaluate", "0123456789", *flags]) == 2
    assert sentence in capsys.readouterr().err


SMALL_RUN = "--data.target image_folder --data.size 8 --network.width 8 --jko.num-phases 1 --training.num-steps 3"


@pytest.fixture
def tiny_folder(undrawn: None, store: Store, home: Path, tmp_path: Path) -> str:
    """The fingerprint of a map that was trained on a folder of which one image is held out."""
    sets.prepared("image_folder", sets.photos(tmp_path / "photos", 6, 8), home / "data", 8)
    assert cli.main(["run", "fashion_mnist", *SMALL_RUN.split(), "--training.batch-size", "4", *QUICK]) == 0
    return str(store.flows()[0].data.tags["sjko.fingerprint"])


def test_what_an_extractor_cannot_look_at_is_a_sentence(
    tiny_folder: str, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    garbage = tmp_path / "weights.pth"
    garbage.write_bytes(b"no weights")
    planar = train(tiny(num_phases=1), store)[0].ref.fingerprint
    assert cli.main(["evaluate", tiny_folder, *QUICK]) == 0, "the other figures need but one image"
    for reference, flags, sentence in (
        (tiny_folder, ["effnet"], "--extractor needs at least 2 images"),
        (tiny_folder, ["lenet"], "lenet was trained on images of 1 x 28 x 28, these are 3 x 8 x 8; effnet takes any"),
        (tiny_folder, ["inception", "--weights", str(tmp_path / "none.pth")], "no Inception weights at"),
        (tiny_folder, ["inception", "--weights", str(garbage)], "does not hold the weights of torch-fidelity's Inception v3"),
        (planar, ["effnet"], "--extractor is for images"),
    ):
        capsys.readouterr()
        assert cli.main(["evaluate", reference, *QUICK, "--extractor", *flags]) == 2
        error = capsys.readouterr().err
        assert sentence in error
        assert error.count("\n") == 1


@pytest.mark.usefixtures("undrawn")
def test_data_that_are_all_equal_have_a_floor_of_zero_and_figures_without_a_ratio(
    store: Store, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for i in range(30):
        path = tmp_path / "photos" / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), (90, 90, 90)).save(path)
    sets.prepared("image_folder", tmp_path / "photos", home / "data", 8)
    arguments = ["run", "fashion_mnist", *SMALL_RUN.split(), "--training.batch-size", "4", *QUICK]
    for _ in range(2):
        assert cli.main([*arguments, "--json", str(tmp_path / "out.json")]) == 0
        printed = capsys.readouterr().out
        assert "beside its floor 0\n" in printed
        assert " x its floor" not in printed
    (row,) = json.loads((tmp_path / "out.json").read_text())["phases"]
    assert row["metrics"]["w2_floor"] == 0
    assert cli.main(["show", row["fingerprint"]]) == cli.main(["list"]) == 0
    assert cli.main(["evaluate", row["fingerprint"], *QUICK, "--extractor", "effnet", "--json", str(tmp_path / "out.json")]) == 0
    metrics = json.loads((tmp_path / "out.json").read_text())["metrics"]
    assert abs(metrics["effnet_frechet_floor"]) < 1e-6
    assert metrics["effnet_precision_floor"] == 1
    assert metrics["effnet_frechet"] > 0


@pytest.mark.usefixtures("undrawn")
def test_a_phase_names_the_processors_that_made_it_and_its_figures(store: Store, tmp_path: Path) -> None:
    arguments = ["run", "moons", "--network.width", "8", "--jko.num-phases", "1", "--training.num-steps", "3", *QUICK]
    assert cli.main([*arguments, "--cluster.cpus-per-worker", "2", "--json", str(tmp_path / "out.json")]) == 0
    (row,) = json.loads((tmp_path / "out.json").read_text())["phases"]
    named = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    assert row["trained_on"] == f"{named[0]}, 2 threads"
    assert row["evaluated_on"] == f"{len(named)} x {named[0]}"
    tags = store.run(row["map_ref"].split("/")[1]).data.tags
    assert (tags["sjko.trained_on"], tags["sjko.evaluated_on"]) == (row["trained_on"], row["evaluated_on"])
