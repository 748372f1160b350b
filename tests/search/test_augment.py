"""Batches: constant shapes, aligned labels, reproducible epochs, no new compilation."""

from __future__ import annotations

import time
from typing import Any

import keras
import numpy as np
import pytest
from kerasloss_search import augment
from kerasloss_search.augment import Batches
from kerasloss_search.dataset import compact
from numpy.testing import assert_allclose, assert_array_equal

import kerasloss


def scene(
    count: int = 20, height: int = 16, width: int = 16, channels: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Images whose pixels are all different, and labels that follow from them."""
    pixels = np.linspace(0.3, 0.7, count * height * width).reshape(count, height, width)
    pixels = np.random.default_rng(0).permuted(pixels, axis=0)
    masks = (np.rint(pixels * 1e4).astype(int) % 3).astype(np.uint8)
    images = np.repeat(pixels[..., None], channels, axis=-1).astype(np.float32)
    return images, masks


def epoch(batches: Batches) -> tuple[np.ndarray, np.ndarray]:
    """All images and labels of the present epoch."""
    parts = [batches[place] for place in range(len(batches))]
    return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])


@pytest.mark.parametrize(
    ("batch_size", "count", "length"), [(8, 20, 2), (20, 20, 1), (64, 20, 1), (1, 3, 3)]
)
def test_batches_have_one_shape(batch_size: int, count: int, length: int) -> None:
    """The remainder is left out, and a small set becomes one batch."""
    batches = Batches(*scene(count), batch_size=batch_size, seed=0)
    size = min(batch_size, count)
    assert len(batches) == length
    for place in range(length):
        x, y = batches[place]
        assert x.shape == (size, 16, 16, 1) and x.dtype == np.float32
        assert y.shape == (size, 16, 16) and y.dtype == np.int32
    with pytest.raises(IndexError):
        batches[length]


def test_without_augmentation_images_are_only_shuffled() -> None:
    """Every image appears once, with its own mask, in another order each epoch."""
    images, masks = scene()
    batches = Batches(images, masks, batch_size=5, seed=0, augment=False)
    orders = []
    for _ in range(2):
        x, y = epoch(batches)
        order = [int(np.flatnonzero((images == one).all(axis=(1, 2, 3)))[0]) for one in x]
        assert sorted(order) == list(range(20))
        assert_array_equal(y, masks[order])
        orders.append(order)
        batches.next_epoch()
    assert orders[0] != orders[1]


def positions(mask: np.ndarray) -> list[np.ndarray]:
    """A mask in all positions that flips and quarter turns reach."""
    turns = [np.rot90(mask, quarter) for quarter in range(4)]
    return turns + [turn[:, ::-1] for turn in turns]


def test_labels_follow_the_images() -> None:
    """Image and mask move together, all eight positions occur, and 255 stays 255."""
    images, masks = scene(64)
    masks[:, :2, :5] = 255
    # The mask, as a channel that brightness and contrast change but do not reorder.
    images[..., 0] = np.where(masks == 255, 0.65, 0.3 + 0.1 * masks)
    batches = Batches(images, masks, batch_size=64, seed=0)
    x, y = epoch(batches)
    seen = set()
    for image, labels in zip(x[..., 0], y, strict=True):
        levels = [np.unique(image[labels == label]) for label in (0, 1, 2, 255)]
        assert all(np.ptp(level) < 1e-5 for level in levels)
        assert np.all(np.diff([level[0] for level in levels]) > 0)
        matches = [
            place
            for mask in masks
            for place, moved in enumerate(positions(mask))
            if np.array_equal(moved, labels)
        ]
        assert len(matches) == 1
        seen.update(matches)
    assert seen == set(range(8))


@pytest.mark.backend
@pytest.mark.parametrize("crop", [None, 10])
@pytest.mark.parametrize("mapped", [False, True])
def test_batches_that_stay_on_the_device_are_the_same(
    crop: int | None, mapped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if keras.backend.backend() == "tensorflow":
        pytest.skip("TensorFlow reads batches on the host")
    monkeypatch.setattr(augment, "_AT_ONCE", 7)
    images, masks = scene(20, channels=3)
    targets = kerasloss.with_distance_maps(masks, classes=3) if mapped else masks
    options = {"batch_size": 6, "seed": 1, "crop": crop}
    ours = Batches(compact(images), targets, resident=True, **options)
    plain = Batches(compact(images), targets, **options)
    for _ in range(2):
        for place in range(len(plain)):
            (x, y), expected = ours[place], plain[place]
            assert keras.ops.is_tensor(x) and keras.ops.is_tensor(y)
            assert keras.backend.standardize_dtype(y.dtype) == expected[1].dtype
            assert_allclose(keras.ops.convert_to_numpy(x), expected[0], atol=1e-6)
            assert_array_equal(keras.ops.convert_to_numpy(y), expected[1])
        ours.next_epoch()
        plain.next_epoch()


def test_distances_turn_with_their_image() -> None:
    """Those that were computed before are those of the turned mask."""
    images, masks = scene(24, 12, 12)
    masks[:3] = 0
    joined = kerasloss.with_distance_maps(masks, classes=3)
    batches = Batches(images, joined, batch_size=24, seed=0)
    plain = Batches(images, masks, batch_size=24, seed=0)
    for _ in range(2):
        (x, y), (alone, labels) = epoch(batches), epoch(plain)
        assert y.dtype == np.float32
        assert_array_equal(x, alone)
        assert_array_equal(y[..., 0], labels)
        assert_array_equal(y, kerasloss.with_distance_maps(labels, classes=3))
        batches.next_epoch()
        plain.next_epoch()


def test_oblong_images_are_flipped_but_not_turned() -> None:
    """A quarter turn would change the shape of an oblong image."""
    images, masks = scene(32, 12, 20, channels=3)
    x, y = epoch(Batches(images, masks, batch_size=32, seed=0))
    assert x.shape == (32, 12, 20, 3)
    flips = [[mask, mask[::-1], mask[:, ::-1], mask[::-1, ::-1]] for mask in masks]
    found = [
        place
        for labels in y
        for one in flips
        for place, moved in enumerate(one)
        if np.array_equal(moved, labels)
    ]
    assert len(found) == 32
    assert set(found) == {0, 1, 2, 3}


def test_brightness_and_contrast_stay_in_range() -> None:
    """Tones change by image, values stay between 0 and 1, labels do not change."""
    images = np.tile(np.linspace(0, 1, 16, dtype=np.float32)[:, None], (40, 1, 16))[..., None]
    masks = np.zeros((40, 16, 16), dtype=np.uint8)
    x, y = epoch(Batches(images, masks, batch_size=40, seed=0))
    assert x.min() >= 0 and x.max() <= 1
    assert np.std(x.mean(axis=(1, 2, 3))) > 0.02
    assert np.abs(x.mean(axis=(1, 2, 3)) - 0.5).max() < 0.15
    assert y.max() == 0


def test_compact_images_are_the_same_images() -> None:
    """Stored as whole numbers, they come out as values between 0 and 1."""
    images, masks = scene()
    stored = compact(images)
    assert stored.dtype == np.uint16 and stored.nbytes * 2 == images.nbytes
    x, _ = epoch(Batches(images, masks, batch_size=5, seed=0))
    again, _ = epoch(Batches(stored, masks, batch_size=5, seed=0))
    assert again.dtype == np.float32
    assert_allclose(again, x, atol=1e-5)


def test_the_source_is_never_changed() -> None:
    """Augmentation works on copies: the second epoch starts from the same images."""
    images, masks = scene()
    before = images.copy(), masks.copy()
    batches = Batches(images, masks, batch_size=20, seed=0)
    first = epoch(batches)
    kept = first[0].copy(), first[1].copy()
    batches.next_epoch()
    assert_array_equal(images, before[0])
    assert_array_equal(masks, before[1])
    # A batch that is still in use is not overwritten by the next epoch.
    assert_array_equal(first[0], kept[0])
    assert_array_equal(first[1], kept[1])


@pytest.mark.parametrize("crop", [None, 8])
def test_epochs_follow_from_the_seed(crop: int | None) -> None:
    """Equal seeds repeat every epoch, `reset` starts over, other seeds and epochs differ."""
    images, masks = scene()
    one = Batches(images, masks, batch_size=5, seed=3, crop=crop)
    two = Batches(images, masks, batch_size=5, seed=3, crop=crop)
    other = Batches(images, masks, batch_size=5, seed=4, crop=crop)
    first = epoch(one)
    assert_array_equal(first[0], epoch(two)[0])
    assert np.any(first[0] != epoch(other)[0])
    one.next_epoch()
    two.next_epoch()
    second = epoch(one)
    assert np.any(first[0] != second[0])
    assert_array_equal(second[0], epoch(two)[0])
    assert_array_equal(second[1], epoch(two)[1])
    other.reset(3)
    assert (other.seed, other.epoch) == (3, 0)
    assert_array_equal(first[0], epoch(other)[0])
    assert_array_equal(first[1], epoch(other)[1])


@pytest.mark.parametrize("channels", [1, 3])
def test_crops_are_windows_of_their_images(channels: int) -> None:
    """A crop is found in its image at the place that its mask says, and places vary."""
    images, masks = scene(30, 14, 18, channels)
    images[..., -1] += 0.01 * (channels > 1)
    x, y = epoch(Batches(images, masks, batch_size=30, seed=0, augment=False, crop=6))
    assert x.shape == (30, 6, 6, channels)
    corners = set()
    for image, labels in zip(x, y, strict=True):
        place = np.argwhere(images[..., 0] == image[0, 0, 0])
        assert len(place) == 1
        number, row, column = place[0]
        cut = (number, slice(row, row + 6), slice(column, column + 6))
        assert_array_equal(images[cut], image)
        assert_array_equal(masks[cut], labels)
        corners.add((int(row), int(column)))
    assert len(corners) > 20
    assert {row for row, _ in corners} <= set(range(9))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"batch_size": 0}, "`batch_size` must be >= 1"),
        ({"crop": 17}, "`crop` must be >= 1 and at most"),
        ({"crop": 0}, "`crop` must be >= 1 and at most"),
        (
            {"masks": np.zeros((20, 8, 8), dtype=np.uint8)},
            "`masks` the same, with or without channels",
        ),
        ({"images": np.zeros((0, 16, 16, 1), dtype=np.float32)}, "at least one image"),
    ],
)
def test_arguments_that_do_not_fit(wrong: dict[str, object], message: str) -> None:
    """A wrong argument is named with what was received."""
    images, masks = scene()
    arguments = {"images": images, "masks": masks, "batch_size": 4, "seed": 0, **wrong}
    with pytest.raises(ValueError, match=message):
        Batches(**arguments)  # type: ignore[arg-type]


def test_half_precision_policy_does_not_round_the_data() -> None:
    """A global float16 policy changes neither images nor labels."""
    images, masks = scene()
    wanted = epoch(Batches(images, masks, batch_size=20, seed=0))
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        got = epoch(Batches(images, masks, batch_size=20, seed=0))
    finally:
        keras.config.set_dtype_policy(policy)
    assert_allclose(got[0], wanted[0], rtol=1e-6)
    assert_array_equal(got[1], wanted[1])


def squared_error(y_true: Any, y_pred: Any) -> Any:
    """A loss of integer labels; Keras would give labels of one channel another shape."""
    error = keras.ops.cast(y_true, y_pred.dtype)[..., None] - y_pred
    return keras.ops.mean(keras.ops.square(error), axis=(1, 2, 3))


def test_fit_compiles_once_and_sees_new_epochs() -> None:
    """Keras trains on the batches, draws each epoch, and traces the loss only at first."""
    images, masks = scene(24)
    batches = Batches(images, (masks > 1).astype(np.uint8), batch_size=8, seed=0)
    traces: list[int] = []

    def loss(y_true: Any, y_pred: Any) -> Any:
        traces.append(1)
        return squared_error(y_true, y_pred)

    model = keras.Sequential([keras.Input((16, 16, 1)), keras.layers.Conv2D(2, 1)])
    model.compile("sgd", loss=loss)
    model.fit(batches, epochs=1, verbose=0)
    before = len(traces)
    model.fit(batches, epochs=3, verbose=0)
    # PyTorch runs the loss eagerly, once for each of the nine batches.
    assert len(traces) - before == (9 if keras.backend.backend() == "torch" else 0)


class Recorder(Batches):
    """Batches that remember which epochs were served."""

    def reset(self, seed: int) -> None:
        self.served: list[int] = []
        super().reset(seed)

    def next_epoch(self) -> None:
        self.served.append(self.epoch)
        super().next_epoch()


@pytest.mark.parametrize("built", [True, False])
@pytest.mark.parametrize("count", [6, 24])
def test_fit_starts_with_epoch_zero(built: bool, count: int) -> None:
    """A worker's first trial, which still builds the model, sees the epochs of any other."""
    images, masks = scene(count)
    batches = Recorder(images, (masks > 1).astype(np.uint8), batch_size=6, seed=0)
    model = keras.Sequential([keras.layers.Conv2D(2, 1)])
    if built:
        model.build((None, 16, 16, 1))
    model.compile("sgd", squared_error, metrics=[squared_error])
    model.fit(batches, epochs=2, verbose=0)
    assert (batches.served, batches.epoch) == ([0, 1], 2)
    model.fit(batches, epochs=2, verbose=0)
    assert (batches.served, batches.epoch) == ([0, 1, 2, 3], 4)
    batches.reset(5)
    model.fit(batches, epochs=2, verbose=0)
    assert (batches.served, batches.epoch) == ([0, 1], 2)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="counts the compilations of JAX")
def test_new_epochs_compile_nothing_on_jax() -> None:
    """After the first epochs no operation of the augmentation is compiled again."""
    import jax

    batches = Batches(*scene(), batch_size=8, seed=0, crop=8)
    batches.next_epoch()
    compiled: list[str] = []

    def listen(event: str, duration: float, **_: object) -> None:
        if "backend_compile" in event:
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        batches.next_epoch()
        batches.reset(7)
        assert compiled == []
        jax.jit(lambda x: x + len(compiled))(np.zeros(3)).block_until_ready()
        assert compiled, "the listener no longer sees compilations"
    finally:
        jax.monitoring.clear_event_listeners()


def test_an_epoch_is_drawn_quickly() -> None:
    """A hundred images of 128 px take a fraction of a training epoch."""
    images = np.random.default_rng(0).random((100, 128, 128, 1), dtype=np.float32)
    batches = Batches(images, np.zeros((100, 128, 128), dtype=np.uint8), batch_size=16, seed=0)
    times = []
    for _ in range(4):
        started = time.perf_counter()
        batches.next_epoch()
        times.append(time.perf_counter() - started)
    # The limit is loose: the cores of a test machine are shared.
    assert min(times) < 1
