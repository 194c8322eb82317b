"""What a person may give to a flow of Python that it cannot be: one sentence each, and nothing is changed by it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from flows import X, tiny

import sjko.flow
import sjko.training
from components.divergences.kl import KL
from pipeline.errors import Diverged, FlowError
from sjko import Cluster, Flow, Network

PIXELS = np.random.default_rng(0).uniform(size=(40, 1, 28, 28))


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "sample before fit": (lambda: Flow().sample(3), "the flow has no finished phase yet: call fit first"),
    "report before fit": (lambda: Flow().report("x.html"), "the flow has no finished phase yet"),
    "a recipe by name": (
        lambda: Flow("two_circles"),
        "recipe must be a Recipe, not a str; Flow.from_yaml takes a name or a path",
    ),  # type: ignore[arg-type]
    "data for a recipe": (lambda: Flow(X), "recipe must be a Recipe, not a ndarray; .* and fit takes data"),  # type: ignore[arg-type]
    "labels by place": (lambda: Flow().fit(X, X[:, 0]), r"^labels are given by name: fit\(x, condition=y\)$"),  # type: ignore[arg-type]
    "labels in a pair": (
        lambda: Flow().fit((X, X[:, 0])),
        r"^x must be rows alone, not a pair: write fit\(x, condition=y\) where ",
    ),
    "lists in a pair": (lambda: Flow().fit((X.tolist(), [1] * 300)), r"^x must be rows alone, not a pair: write fit\("),
    "frames in a pair": (lambda: Flow(source=(pd.DataFrame(X), 0)), "^source must be rows alone, not a pair$"),
    "held-out labels in a pair": (
        lambda: Flow().fit(X, held_out=(X, X[:, 0])),
        r"^held_out must be rows alone, not a pair, and x has no condition: write fit\(x, condition=y, held_out=\(rows",
    ),
    "points in a pair": (
        lambda: Flow(tiny(1, 1)).fit(X, None).transport((X, X[:, 0])),
        r"^points must be rows alone, not a pair: write transport\(points, condition=y\)$",
    ),
    "no divergence": (lambda: Flow(divergence="hellinger"), "jko.divergence must be one of"),
    "another part": (
        lambda: Flow(divergence=Network()).fit(),
        "jko.divergence: .* must make a .*Divergence, and makes a Network",
    ),
    "ten rows, two of them different": (lambda: Flow().fit([[0, 1]] * 9 + [[0, 1]]), "x: all 10 rows are equal"),
    "rows that are equal in float32": (lambda: Flow().fit(X + 1e12), "x: all 300 rows are equal in float32"),
    "channels last": (
        lambda: Flow().fit(np.zeros((20, 8, 8, 3))),
        r"not of the shape \(20, 8, 8, 3\), whose channels are the last: write np.moveaxis\(x, -1, 1\)",
    ),
    "few rows": (lambda: Flow().fit([[0, 1], [1, 2]]), "x: 2 samples are too few to hold some of them out"),
    "held out without x": (lambda: Flow().fit(held_out=X), "held_out is of x, which is not given"),
    "a source of another shape": (lambda: Flow(source=X).fit(X[:, :2]), "data.source must be .*, not :rows-3"),
    "workers without a store": (lambda: Flow().fit(X, cluster=Cluster(num_workers=2)), "2 workers needs a store"),
    "a cluster that cannot be": (
        lambda: Flow().fit(X, cluster=Cluster(num_workers=-1)),
        "cluster.num_workers must be at least 0",
    ),
    "a store that is none": (lambda: Flow().fit(X, store=3), "store must be a tracking URI, a Store or True, not a int"),
    "an address that is none": (lambda: Flow().fit(X, store="mlflow:5000"), "store.tracking_uri must start with one of http://"),
    "images for vectors": (
        lambda: Flow.from_yaml("fashion_mnist").fit(X),
        "data.target must be one of digits, .* when network.kind is light, not :rows-3",
    ),
    "pixels of bytes": (
        lambda: Flow.from_yaml("fashion_mnist").fit(np.arange(20 * 784).reshape(20, 1, 28, 28) % 255),
        r"x: images for network.kind light are in \[-1, 1\], and these go from 0 to 254: write x / 127.5 - 1",
    ),
    "held-out pixels of bytes": (
        lambda: Flow.from_yaml("fashion_mnist").fit(PIXELS, held_out=255 * PIXELS),
        r"held_out: images for network.kind light are in \[-1, 1\]",
    ),
    "a source of bytes": (
        lambda: Flow.from_yaml("fashion_mnist", source=255 * PIXELS).fit(PIXELS),
        r"source: images for network.kind light are in \[-1, 1\]",
    ),
    "a module for a pair of networks": (
        lambda: Flow(network=torch.nn.Linear(2, 2)).fit(X),
        "network.kind",
    ),
    "no such field": (lambda: Flow.from_yaml("moons", jko__hh=3), "jko.hh is not a field of a recipe"),
    "no such version": (lambda: Flow.load("two_circles"), "a version is written models:/NAME@ALIAS or models:/NAME/NUMBER"),
    "no folder": (lambda: Flow(tiny(1, 1)).fit(X).report("/nowhere/x.html"), "a report is a file in an existing folder"),
    "half a sample": (lambda: Flow(tiny(1, 1)).fit(X).sample(2.5), "n must be a whole number, not 2.5"),  # type: ignore[arg-type]
    "no sample": (lambda: Flow(tiny(1, 1)).fit(X).sample(0), "n must be a whole number of at least 1"),
    "more than there is room for": (
        lambda: Flow(tiny(1, 1)).fit(X).sample(10**13),
        r"n: 10,000,000,000,000 samples take 3.6e\+05 GB of memory, and .* are free: draw fewer at a time",
    ),
    "no data of a name": (lambda: Flow(tiny(1)).fit("moon"), "x: there are no data 'moon' and no file; did you mean moons?"),
    "a cluster by name": (lambda: Flow(tiny(1)).fit(X, cluster="x"), "cluster must be a Cluster, not a str"),  # type: ignore[arg-type]
    "a negative seed": (lambda: Flow(tiny(1, 1)).fit(X).sample(1, seed=-1), "seed must be a whole number of at least 0"),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.usefixtures("home")
def test_a_mistake_is_one_sentence_and_a_value_error(case: str) -> None:
    act, message = WRONG[case]
    with pytest.raises(ValueError, match=message) as caught:
        act()
    assert "\n" not in str(caught.value)


def test_what_diverges_says_so_and_keeps_what_came_before(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wild(KL):
        def conjugate(self, s: torch.Tensor) -> torch.Tensor:
            return s / 0

    monkeypatch.setattr(sjko.flow, "require_working", lambda *given: None)  # which would refuse it
    flow = Flow(tiny(2), divergence=Wild())
    with pytest.raises(Diverged, match="phase 0 diverged at step 0: potential_loss is not finite"):
        flow.fit(X)
    assert flow.phases == []


def test_a_part_that_gives_no_numbers_is_refused_before_anything_is_trained() -> None:
    class Wrong(KL):
        def conjugate(self, s: torch.Tensor) -> torch.Tensor:
            return super().conjugate(s) * float("nan")

    with pytest.raises(ValueError, match=r"^jko\.divergence: Wrong: conjugate must be 0 at 0: .*: it is nan$"):
        Flow(tiny(1), divergence=Wrong()).fit(X)
    with pytest.raises(
        ValueError, match=r"^data\.target: int must make an array \(n, \.\.\.\) of samples, .*; a int has no shape"
    ):
        Flow(tiny(1)).fit(lambda: 3)


def test_a_fit_that_is_refused_leaves_the_recipe_as_it_was() -> None:
    flow = Flow(tiny(1)).fit(X)
    recipe = flow.recipe
    for wrong in (
        lambda: flow.fit(X[:100], cluster=Cluster(num_workers=2)),
        lambda: flow.fit(X[:100], cluster=Cluster(num_microbatches=7)),
        lambda: flow.fit(X[:100], store=3),
    ):
        with pytest.raises((ValueError, FlowError)):
            wrong()
        assert flow.recipe == recipe
    assert flow.fit().recipe == recipe


def test_fit_warns_once_of_scales(caplog: pytest.LogCaptureFixture) -> None:
    flow = Flow(tiny(1)).fit(X * [1, 1, 100])
    flow.fit(X * [1, 1, 100])
    assert [record.message.partition(",")[0] for record in caplog.records if record.name.startswith("sjko")] == [
        "x: the standard deviation of column 0"
    ]
    caplog.clear()
    Flow(tiny(1, standardise="axes")).fit(X * [1, 1, 100])
    assert not [record for record in caplog.records if record.name.startswith("sjko")], "there each column has its own"
