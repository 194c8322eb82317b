"""One global batch whatever reads it and wherever training goes on."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import picture_sets as sets
import pytest
from flows import STILL, assert_same_gradients, tiny, train, weights
from homes import new_store

from benchmarks import readers as readers_benchmark
from components.streams import stream
from pipeline.cluster import Cluster
from pipeline.data.endpoints import load_endpoints
from pipeline.data.images.images import Mapped
from pipeline.data.images.prepared import PreparedSet
from pipeline.data.images.shuffle import SHARDS_PER_WINDOW, Shuffle
from pipeline.data.images.streaming import Streamed
from pipeline.data.source import At
from pipeline.errors import Unusable
from pipeline.recipe import Data
from pipeline.store.phases import Store


def readers(found: PreparedSet) -> dict[str, Mapped | Streamed]:
    return {"mapped": Mapped(found.mapped("train"), found.mapped("test")), "streamed": Streamed(found)}


@pytest.mark.parametrize("kind", ["mapped", "streamed"])
@pytest.mark.thorough
def test_any_number_of_workers_sees_the_same_global_batches_and_so_does_a_resumed_phase(
    kind: str, data_uri: Path, one_ray: None
) -> None:
    found = sets.open_set("image_folder", data_uri, 16)
    whole = sets.batches(readers(found)[kind], range(12))
    assert len(np.unique(whole.reshape(-1, 3 * 16 * 16), axis=0)) > 40
    for workers in (2, 3):
        shares = [sets.batches(readers(found)[kind], range(12), rank=rank, workers=workers) for rank in range(workers)]
        np.testing.assert_array_equal(np.concatenate(shares, axis=1), whole)
    reader = readers(found)[kind]
    for start in (7, 2, 11):
        np.testing.assert_array_equal(sets.batches(reader, range(start, 12)), whole[start:])
    np.testing.assert_array_equal(sets.batches(reader, range(7, 12), rank=1, workers=3), whole[7:, 8:16])
    assert not np.array_equal(sets.batches(reader, range(2), phase=1), whole[:2])


def test_the_mapped_reader_draws_as_the_built_in_sets_do(data_uri: Path) -> None:
    found = sets.open_set("mnist", data_uri, 28)
    indices = stream(3, "target", phase=0, step=5).integers(100, size=24)
    np.testing.assert_array_equal(sets.batches(readers(found)["mapped"], range(5, 6))[0], sets.pixels(100)[indices])


@pytest.mark.thorough
def test_a_stream_passes_every_row_once_per_epoch_in_another_order_each_time(data_uri: Path, one_ray: None) -> None:
    """100 rows in 13 shards, the last one of 4; batches of 20."""
    found = sets.open_set("mnist", data_uri, 28)
    images = sets.batches(Streamed(found), range(15), n=20).reshape(3, 100, -1)
    original = sets.pixels(100).reshape(100, -1)
    numbers = {image.tobytes(): i for i, image in enumerate(original)}
    epochs = [[numbers[image.tobytes()] for image in epoch] for epoch in images]
    assert all(sorted(epoch) == list(range(100)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    for epoch, order in enumerate(epochs):  # as the rule says, written down once more
        shards = stream(3, "shards", phase=0, step=epoch).permutation(13)
        expected: list[int] = []
        for window, begin in enumerate(range(0, 13, SHARDS_PER_WINDOW)):
            rows = [
                row for shard in shards[begin : begin + SHARDS_PER_WINDOW] for row in range(8 * shard, min(8 * shard + 8, 100))
            ]
            shuffled = stream(3, "rows", phase=0, step=4 * epoch + window).permutation(len(rows))
            expected += [rows[i] for i in shuffled]
        assert order == expected


def test_positions_are_found_by_arithmetic_far_into_a_phase() -> None:
    order = Shuffle("target", 0, 0, tuple([500] * 40 + [123]))
    epoch = sum(order.shard_rows)
    far = 10**6 * epoch + 700
    windows = order.windows(far, far + 64)
    assert windows[0].first <= far < windows[0].first + windows[0].num_rows
    assert [w.first - 10**6 * epoch for w in windows] == [w.first - 10**6 * epoch for w in order.epoch(10**6)[: len(windows)]]
    covered = order.windows(0, 3 * epoch)
    assert [w.first + w.num_rows for w in covered[:-1]] == [w.first for w in covered[1:]]


@pytest.mark.parametrize("kind", ["mapped", "streamed"])
def test_samples_and_held_out_images_are_of_their_splits(kind: str, data_uri: Path) -> None:
    reader = readers(sets.open_set("mnist", data_uri, 28))[kind]
    train, test = ({image.tobytes() for image in sets.pixels(n, seed=seed)} for n, seed in ((100, 0), (30, 1)))
    sampled = reader.sample(10, np.random.default_rng(0))
    assert {image.tobytes() for image in sampled} <= train
    held_out = reader.held_out(30, np.random.default_rng(0))
    assert {image.tobytes() for image in held_out} == test
    np.testing.assert_array_equal(sampled, reader.sample(10, np.random.default_rng(0)))
    assert reader.num_distinct == 30


@pytest.mark.parametrize("kind", ["mapped", "streamed"])
@pytest.mark.thorough
def test_both_readers_are_measured(kind: str, one_ray: None) -> None:
    (row,) = readers_benchmark.measure({"images": "1 x 28 x 28 raw", "reader": kind, "num_images": 512, "seed": 0})
    assert row["images_per_second"] > 500, "a thousandth of what it is"


@pytest.mark.thorough
def test_a_streamed_flow_is_the_same_in_this_process_and_on_two_ray_train_workers(
    data_uri: Path, store: Store, tmp_path: Path, one_ray: None
) -> None:
    """Both workers hold a CPU each, all that there are, while Ray Data reads for them."""
    recipe = tiny(num_phases=1, num_steps=20, batch_size=16, width=8, num_frequencies=0, **STILL)
    recipe = replace(recipe, data=Data(target="mnist"))
    cluster = Cluster(data=str(data_uri), max_cached_gb=0.0, checkpoint_every=0)
    (local,) = train(recipe, store, cluster)
    assert local.phase.data.streamed
    assert local.phase.data.digest == sets.open_set("mnist", data_uri, 28).digest
    other = new_store(tmp_path / "other")
    (there,) = train(recipe, other, replace(cluster, num_workers=2, tracking_uri=other.uri))
    assert there.phase == local.phase
    assert_same_gradients(weights(store, local.ref), weights(other, there.ref))


@pytest.mark.thorough
@pytest.mark.usefixtures("s3_here")
def test_images_are_prepared_to_s3_and_read_from_there(tmp_path: Path, new_bucket: Callable[[], str]) -> None:
    bucket = new_bucket()
    source = sets.mnist(tmp_path / "from")
    done = sets.prepared("mnist", source, f"s3://{bucket}/sets")
    assert sets.prepared("mnist", source, f"s3://{bucket}/sets").num_new == 0
    found = sets.open_set("mnist", f"s3://{bucket}/sets", 28)
    assert found.digest == done.manifest["digest"]
    np.testing.assert_array_equal(found.mapped("train"), sets.pixels(100))
    ends = load_endpoints(Data(target="mnist", digest=found.digest), f"s3://{bucket}/sets")
    assert ends.target.batch(At("target", 0, 0, 0, 8, slice(0, 8))).shape == (8, 1, 28, 28)
    reader = Streamed(found)
    assert {image.tobytes() for image in reader.held_out(30, np.random.default_rng(0))} == {
        image.tobytes() for image in sets.pixels(30, seed=1)
    }
    with pytest.raises(Unusable, match=rf"s3://{bucket}/other/mnist-28 holds no prepared images.*--to s3://{bucket}/other"):
        load_endpoints(Data(target="mnist"), f"s3://{bucket}/other")
    with pytest.raises(Unusable, match="--to cannot be written: s3://no-such-bucket"):
        sets.prepared("mnist", source, "s3://no-such-bucket/sets")
