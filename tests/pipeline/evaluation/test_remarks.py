"""What W2 hides of images: blur, noise and copies are seen by two figures, and said in a sentence."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from components.image_metrics import detail
from components.metrics import nearness
from components.streams import stream
from pipeline.data.endpoints import load_endpoints
from pipeline.data.images.images import Images, Mapped
from pipeline.evaluation.draws import Draws
from pipeline.evaluation.image_metrics import DETAIL, NEAR, NEAR_COPIES, Beside
from pipeline.evaluation.measure import NOTHING_LOGGED
from pipeline.evaluation.metrics import AMONG, figures, floor_of, means, views_of
from pipeline.evaluation.offer import offer_of
from pipeline.evaluation.remarks import remarks
from pipeline.evaluation.size import EvaluationSize
from pipeline.recipe import Data

DIGITS = Data(target="digits", standardise=False)
ENDPOINTS = load_endpoints(DIGITS)


@dataclass(frozen=True)
class Given:
    """Images that were made some other way, as what metrics judge."""

    images: np.ndarray

    def sample(self, n: int, draw: int) -> np.ndarray:
        return self.images[draw * n : (draw + 1) * n]

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} is not looked at")


def unseen() -> np.ndarray:
    """Held-out digits, in another order than those that they are compared with."""
    return ENDPOINTS.data.held_out(150, stream(1, "evaluation_target"))


def trained_on() -> np.ndarray:
    return ENDPOINTS.data.seen(150, stream(1, "evaluation_floor"))


def noise() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(150, *ENDPOINTS.shape)).astype(np.float32)


MADE = {
    "real": unseen,
    "blurred": lambda: uniform_filter(unseen(), (0, 0, 3, 3)),
    "noisy": lambda: unseen() + 0.5 * noise(),
    "copied": trained_on,
    "nearly copied": lambda: trained_on() + 0.01 * noise(),
}
SAID = {
    "real": ("about as sharp as the data", "few"),
    "blurred": ("blurred, which W2 rewards", "few"),
    "noisy": ("noisier than the data", "few"),
    "copied": ("about as sharp as the data", "many"),
    "nearly copied": ("about as sharp as the data", "many"),
}


@pytest.mark.parametrize("kind", MADE)
def test_blur_noise_and_copies_are_said(kind: str) -> None:
    draws = Draws(Given(MADE[kind]()), ENDPOINTS, EvaluationSize(150, 1))
    measured = {metric.name: metric for metric in (DETAIL, NEAR_COPIES)}
    views = views_of(measured, draws)
    row = means(measured, views)
    row |= {floor_of(name): metric.floor(view) for name, metric in measured.items() for view in views[metric.needs.views]}
    assert row["near_copies_floor"] == pytest.approx(NEAR, abs=1 / 150)
    assert row["detail_floor"] == pytest.approx(1, abs=0.1)
    (sentence,) = remarks(row)
    sharp, many = SAID[kind]
    assert f"the images are {sharp} (detail " in sentence
    assert f"; {many} nearly repeat training images (" in sentence


@pytest.mark.parametrize(("kind", "many"), [("real", False), ("nearly copied", True)])
def test_of_few_held_out_images_copies_are_seen_by_training_images_as_well(kind: str, many: bool) -> None:
    """By the three held-out images alone, a twentieth is any number between two of them."""
    data = ENDPOINTS.data
    held_out, trained_on = data.held_out(3, np.random.default_rng(0)), data.seen(120, np.random.default_rng(1))
    made = unseen() if kind == "real" else np.concatenate([trained_on, trained_on[:30]]) + 0.01 * noise()
    share = NEAR_COPIES.measure(Beside(made, held_out, trained_on))
    assert (share > 0.9) if many else (share < 0.1)


def test_only_images_have_these_figures_and_what_is_not_measured_is_not_said() -> None:
    assert {"detail", "near_copies"} <= figures(offer_of(DIGITS, NOTHING_LOGGED)).keys()
    assert not {"detail", "near_copies"} & figures(offer_of(Data(target="moons"))).keys()
    assert remarks({"w2": 1.0, "detail": 0.9}) == []
    assert remarks({"detail": np.nan, "detail_floor": 1.0, "near_copies": np.nan, "near_copies_floor": NEAR}) == []


def test_copies_are_found_where_data_repeat_themselves() -> None:
    """Copies of images that are there twice, and copies where held-out images are some too, passed for none."""
    others, rows = unseen(), trained_on()
    twice = Draws(
        Given(rows), replace(ENDPOINTS, data=Images(Mapped(pixels(rows, rows), pixels(others)))), EvaluationSize(150, 1)
    )
    assert len(twice.trained_on) == len(np.unique(rows, axis=0))
    assert len(np.unique(twice.trained_on, axis=0)) == len(twice.trained_on)
    some_held_out = np.concatenate([others[:75], rows[:75]])
    copies = {name: Beside(made, some_held_out, rows) for name, made in (("all", rows), ("none", others))}
    assert NEAR_COPIES.measure(copies["all"]) == 1
    assert NEAR_COPIES.measure(copies["none"]) < NEAR
    assert NEAR_COPIES.floor(copies["all"]) == 0.5
    assert "; many nearly" in remarks(said(1.0, 0.5, 150))[0]
    assert "; few nearly" in remarks(said(0.5, 0.5, 150))[0], "as the data do"


@pytest.mark.parametrize(("share", "number", "many"), [(0.4, 5, False), (1.0, 5, True), (0.2, 30, False), (0.3, 30, True)])
def test_of_few_images_only_copies_that_are_no_chance_are_said(share: float, number: int, *, many: bool) -> None:
    sentence = remarks(said(share, 1 / number if number < 20 else 2 / 30, number))[-1]
    assert (f"many {'images ' if number < 20 else ''}nearly repeat one of 3,000 training images" in sentence) == many
    assert ("as sharp as" in sentence) == (number == 30)


def test_a_folder_of_two_hundred_pictures_is_told_how_sharp_and_how_new_its_images_are() -> None:
    """It holds out 20, of which a map is judged by four samples of 20."""
    w2, of_images = remarks(said(0.03, 0.05, 20) | {"num_pairs": 4.0})
    assert w2.startswith("W2 and its floor are of 20 samples alone")
    assert of_images.startswith("the images are about as sharp as the data")
    assert "; few nearly repeat" in of_images


def said(copies: float, usual: float, number: int) -> dict[str, float]:
    of_copies = {"near_copies": copies, "near_copies_floor": usual, AMONG: 3000.0}
    return {"detail": 1.0, "detail_floor": 1.0, "num_samples": number, **of_copies}


def pixels(*images: np.ndarray) -> np.ndarray:
    return np.rint((np.concatenate(images) + 1) * 127.5).astype(np.uint8)


def test_samples_that_are_no_numbers_have_no_figures() -> None:
    draws = Draws(Given(np.full((150, *ENDPOINTS.shape), np.nan, np.float32)), ENDPOINTS, EvaluationSize(150, 1))
    row = means({"detail": DETAIL, "near_copies": NEAR_COPIES}, views_of({"detail": DETAIL, "near_copies": NEAR_COPIES}, draws))
    assert all(np.isnan(value) for value in row.values())


def test_detail_falls_with_blur_and_nearness_is_the_ratio_of_two_distances() -> None:
    images = noise()
    assert detail(images) == pytest.approx(2 / np.sqrt(np.pi), rel=0.02)  # E|a - b| of two standard normal numbers
    y = np.array([[0.0, 0.0], [3.0, 4.0], [30.0, 40.0]])
    np.testing.assert_allclose(nearness(np.array([[0.0, 0.0], [0.3, 0.4]]), y), [0, 0.5 / 4.5], atol=1e-12)
