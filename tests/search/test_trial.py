"""The bench: trials do not see each other, and every option does what it says."""

import dataclasses

import keras
import numpy as np
import pytest
from kerasloss_search import residence
from kerasloss_search.catalogue import Choice
from kerasloss_search.dataset import Dataset
from kerasloss_search.jobs import Settings
from kerasloss_search.provenance import (
    settings_from_json,
    settings_to_json,
)
from kerasloss_search.space import Recipe, Space
from kerasloss_search.trial import Bench

pytestmark = pytest.mark.backend

SPACE = Space.of(
    ("dice", "focal", "lovasz", "cross_entropy"), optimizers=("adam", "nadam"), steps=8
)


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    rng = np.random.default_rng(0)
    images = rng.random((16, 16, 16, 1), dtype="float32")
    masks = np.zeros((16, 16, 16), "uint8")
    masks[:, 4:9, 3:8] = 1
    images[masks == 1] += 0.6
    names = tuple(f"image {index}" for index in range(16))
    data = Dataset(
        images, masks, names, names, np.arange(8), np.arange(8, 12), np.arange(12, 16), classes=2
    )
    path = tmp_path_factory.mktemp("data") / "data.npz"
    data.save(path)
    return Settings(
        path, SPACE, epochs=2, batch_size=4, model_options={"width": 2, "depth": 1}, augment=False
    )


@pytest.fixture(scope="module")
def bench(settings):
    return Bench(settings)


def recipe(**changes):
    return SPACE.decode({**SPACE.baselines()["dice"], "learning_rate": 1e-2, **changes})


def curve(bench, wanted):
    scores = []
    result = bench.run(wanted, lambda epoch: scores.append(epoch.score) or True)
    assert result.outcome == "complete"
    return scores, result


def test_a_trial_does_not_see_the_ones_before_it(bench):
    first, _ = curve(bench, recipe())
    step = bench._steps[SPACE.structure(recipe())]
    other, _ = curve(bench, recipe(**{"use/lovasz": True, "optimizer": "nadam"}))
    again, _ = curve(bench, recipe())
    assert again == first
    assert other != first
    # Not compiled twice.
    assert bench._steps[SPACE.structure(recipe())] is step


@pytest.mark.parametrize("classes", [2, 3])
def test_distances_computed_once_change_nothing(settings, tmp_path, classes):
    """Against a bench that computes them in every step."""
    data = Dataset.load_npz(settings.data)
    data.masks[:, 9:14, 9:12] = classes - 1
    data = dataclasses.replace(data, classes=classes)
    data.save(tmp_path / "data.npz")
    space = Space.of(("distance_map", "boundary", "hausdorff"), auxiliary="boundary", steps=8)
    settings = dataclasses.replace(settings, data=tmp_path / "data.npz", space=space, augment=True)
    used = {f"use/{name}": True for name in space.terms}
    params = {name: _middle(limits) for name, limits in space.dimensions.items()}
    wanted = space.decode({**params, **used, "auxiliary": True})
    benches = [Bench(settings), Bench(settings)]
    assert benches[0]._maps
    benches[1]._maps = False
    ours, theirs = (curve(bench, wanted)[0] for bench in benches)
    np.testing.assert_allclose(ours, theirs, atol=1e-3)
    weights = [bench.net.get_weights() for bench in benches]
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    # And they are those with the maps.
    assert [next(iter(bench._batches))[1] for bench in benches] == [True, False]


def _middle(limits):
    if isinstance(limits, Choice):
        return limits.options[0]
    return (limits.low + limits.high) / 2


def test_distances_are_computed_in_the_step_where_they_change(settings, tmp_path):
    """In a window they are others, and ignored pixels bound the background."""
    assert not Bench(dataclasses.replace(settings, crop=8))._maps
    data = Dataset.load_npz(settings.data)
    data.masks[0, 0, 0] = 255
    data.save(tmp_path / "data.npz")
    assert not Bench(dataclasses.replace(settings, data=tmp_path / "data.npz"))._maps


def test_data_that_stay_on_the_device_change_nothing(settings, monkeypatch):
    """As on an accelerator; there is none here that could tell its memory."""
    if keras.backend.backend() == "tensorflow":
        pytest.skip("TensorFlow reads batches on the host")
    settings = dataclasses.replace(settings, augment=True, batch_size=3)
    expected = curve(Bench(settings), recipe())[0]
    assert residence.device_bytes() == 0
    monkeypatch.setattr(residence, "device_bytes", lambda: 2**30)
    bench = Bench(settings)
    assert curve(bench, recipe())[0] == pytest.approx(expected, abs=1e-6)
    (batches,) = bench._batches.values()
    assert keras.ops.is_tensor(batches[0][0])
    monkeypatch.setattr(residence, "device_bytes", lambda: 2**10)
    assert not Bench(settings)._resident


def test_folds_take_turns(bench, settings):
    folds = Bench(dataclasses.replace(settings, folds=3)).folds()
    held = np.concatenate([validation for _, validation in folds])
    assert sorted(held) == list(range(12))
    for train, validation in folds:
        assert not set(train) & set(validation)
        assert sorted([*train, *validation]) == list(range(12))


def test_every_score_is_given_at_the_best_epoch(settings):
    bench = Bench(dataclasses.replace(settings, scores=("iou", "hd95", "time"), folds=2))
    reported = []
    result = bench.run(recipe(), lambda epoch: reported.append(epoch.index) or True)
    assert set(result.values) == {"iou", "hd95", "time"}
    assert 0.0 <= result.values["iou"] <= 1.0 and result.values["time"] > 0.0
    # Those of the first fold.
    assert reported == [0, 1]


def test_the_final_stage_starts_elsewhere_and_repeats_exactly(bench, settings, tmp_path):
    first = bench.final(3, recipe(), 1000, tmp_path / "a")
    other = bench.final(3, recipe(), 1001, tmp_path / "b")
    curve(bench, recipe(**{"use/lovasz": True}))
    stored = settings_to_json(settings)
    settings = settings_from_json(stored, settings.data)
    wanted = Recipe(**dataclasses.asdict(recipe()))
    again = Bench(settings).final(3, wanted, 1000, tmp_path / "c")
    assert again.curve == first.curve and again.test == first.test
    assert other.curve != first.curve
    with np.load(tmp_path / "a.npz") as ours, np.load(tmp_path / "c.npz") as theirs:
        assert (ours["labels"] == theirs["labels"]).all()


def test_a_driver_that_has_seen_enough_ends_a_trial(bench):
    result = bench.run(recipe(), lambda epoch: False)
    assert (result.outcome, result.best_epoch) == ("stopped", 0)
    assert set(result.values) == {"dice"}


def test_a_loss_that_is_nan_ends_a_trial(bench, monkeypatch):
    monkeypatch.setattr(bench, "_starts", {0: [v * np.nan for v in bench._starts[0]]})
    result = bench.run(recipe(), lambda epoch: True)
    assert (result.outcome, result.values) == ("diverged", {})
