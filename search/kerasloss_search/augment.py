"""Serve shuffled, augmented batches of constant shape to `fit`, the same for equal seeds."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from kerasloss_search.dataset import as_float

__all__ = ["Batches"]

Images = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int32] | npt.NDArray[np.float32]

_BRIGHTNESS = 0.1
_CONTRAST = 0.2
# Images that are augmented at a time: all of a large set would fill the memory of a GPU.
_AT_ONCE = 256


class Batches(keras.utils.PyDataset):
    """Batches of images and labels, drawn anew for every epoch.

    A whole epoch is shuffled, cropped and augmented in one vectorised call between epochs:
    with flips, turns (by quarters where images are square), brightness and contrast. Its content
    depends on the seed and the number of the epoch alone. All batches have one shape, so
    that nothing is compiled twice: images beyond the last full batch wait for another
    epoch, and a set smaller than a batch becomes the batch.

    Args:
        images: Values between 0 and 1, shape (images, height, width, channels), float32 or uint16
            as in `Dataset.images`.
        masks: Class numbers, shape (images, height, width); 255 stays 255. Or, float32, what
            `kerasloss.with_distance_maps` makes of them: distances turn with their image.
        batch_size: Images a batch; at most the number of images is used.
        seed: Seed of order, crops and augmentation, 0 or more.
        augment: Whether images are flipped, turned, and changed in brightness and contrast.
        crop: Height and width in px of a window cut at a random place from every image;
            `None` keeps images whole.
        resident: Whether images, masks and batches stay in the memory of the device that computes,
            as tensors of the backend, so that no batch is copied there. Not with TensorFlow, which
            reads batches on the host.

    Raises:
        ValueError: If shapes do not fit together or `crop` is larger than the images.
    """

    def __init__(
        self,
        images: Images | npt.NDArray[np.uint16],
        masks: npt.NDArray[np.integer[Any]] | npt.NDArray[np.float32],
        *,
        batch_size: int,
        seed: int,
        augment: bool = True,
        crop: int | None = None,
        resident: bool = False,
    ) -> None:
        # Threads would gain nothing: a batch is a slice of arrays that are ready.
        super().__init__(workers=1, use_multiprocessing=False)
        if images.ndim != 4 or len(images) == 0 or masks.shape[:3] != images.shape[:3]:
            raise ValueError(
                "`Batches`: `images` must be (images, height, width, channels) with at least "
                "one image, and `masks` the same, with or without channels. Received: "
                f"images.shape={images.shape}, masks.shape={masks.shape}."
            )
        if batch_size < 1:
            raise ValueError(f"`Batches`: `batch_size` must be >= 1. Received: {batch_size}.")
        if crop is not None and not 1 <= crop <= min(images.shape[1:3]):
            raise ValueError(
                "`Batches`: `crop` must be >= 1 and at most the smaller side of the images. "
                f"Received: crop={crop}, images.shape={images.shape}."
            )
        self.batch_size = min(batch_size, len(images))
        self.crop = crop
        self._images: Any = images
        self._masks: Any = masks
        if resident:
            self._images = keras.ops.convert_to_tensor(as_float(images))
            self._masks = keras.ops.convert_to_tensor(masks if masks.ndim == 4 else _labels(masks))
        self._augmentation = _Augmentation() if augment else None
        self.reset(seed)

    def reset(self, seed: int) -> None:
        """Start over with epoch 0 of a seed."""
        self.seed = seed
        self.epoch = 0
        self._begun = False
        self._fresh = True
        self._draw()

    def next_epoch(self) -> None:
        """Draw the next epoch; for a training loop of one's own, since `fit` does it itself."""
        self.epoch += 1
        self._draw()

    def on_epoch_begin(self) -> None:
        """Called by `fit` at the start of an epoch, and before the first one to build a model."""
        self._begun = True

    def on_epoch_end(self) -> None:
        """Called by `fit` after every epoch, and once before the first one."""
        # The call before the first epoch is no end of anything. A model that is built only
        # now also takes a batch before it; without this test its epochs would be other ones.
        if self._begun and not self._fresh:
            self.next_epoch()
        self._begun = self._fresh = False

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return len(self._images) // self.batch_size

    def __getitem__(self, index: int) -> tuple[Images, Labels]:
        """One batch: float32 (batch, height, width, channels), and int32 (batch, height, width) or
        float32 masks with their maps."""
        if not 0 <= index < len(self):
            raise IndexError(f"`Batches`: there are {len(self)} batches. Received: {index}.")
        part = slice(index * self.batch_size, (index + 1) * self.batch_size)
        x, y = self._drawn
        return x[part], y[part]

    def _draw(self) -> None:
        """Make new arrays; the old ones stay as they are, since a batch may still be in use."""
        rng = np.random.default_rng((self.seed, self.epoch))
        order = rng.permutation(len(self._images))[: len(self) * self.batch_size]
        corners: tuple[npt.NDArray[np.int64], ...] = ()
        if self.crop is not None:
            limits = [side - self.crop + 1 for side in self._images.shape[1:3]]
            corners = tuple(rng.integers(limit, size=len(order)) for limit in limits)
        parts = [
            self._made(order[part], [corner[part] for corner in corners], rng)
            for part in (slice(at, at + _AT_ONCE) for at in range(0, len(order), _AT_ONCE))
        ]
        # In one step: TensorFlow reads batches in another thread.
        self._drawn = (_joined([x for x, _ in parts]), _joined([y for _, y in parts]))

    def _made(
        self,
        order: npt.NDArray[np.int64],
        corners: list[npt.NDArray[np.int64]],
        rng: np.random.Generator,
    ) -> tuple[Any, Any]:
        """Some of the images of an epoch and their masks, cut and augmented."""
        if self.crop is None:
            x, y = self._images[order], self._masks[order]
        else:
            rows, columns = corners
            x = _windows(self._images, order, rows, columns, self.crop)
            y = _windows(self._masks, order, rows, columns, self.crop)
        x = as_float(x) if isinstance(x, np.ndarray) else x
        if self._augmentation is not None:
            x, y = self._augmentation(x, y, rng)
        return x, y if len(y.shape) == 4 else _labels(y)


class _Augmentation:
    """Keras's preprocessing layers, given a seed at every call."""

    def __init__(self) -> None:
        # float32 whatever the global policy: half precision would round images and labels.
        # One axis is enough: with the turns it reaches all positions, and each pass over the
        # epoch costs time. (The mode "horizontal_and_vertical" flips both axes or none.)
        self.flip = keras.layers.RandomFlip(
            "horizontal", data_format="channels_last", dtype="float32"
        )
        self.tones = [
            keras.layers.RandomBrightness(_BRIGHTNESS, value_range=(0, 1), dtype="float32"),
            keras.layers.RandomContrast(
                _CONTRAST, value_range=(0, 1), data_format="channels_last", dtype="float32"
            ),
        ]

    def __call__(self, x: Any, y: Any, rng: np.random.Generator) -> tuple[Any, Any]:
        on_host, flat = isinstance(x, np.ndarray), len(y.shape) == 3
        # A quarter turn would change the shape of an oblong image.
        turns = rng.choice((0, 1, 2, 3) if x.shape[1] == x.shape[2] else (0, 2), size=len(x))
        x, y = _turned(x, turns), _turned(y, turns)
        images = keras.ops.convert_to_tensor(x, dtype="float32")
        masks = keras.ops.convert_to_tensor(y[..., None] if flat else y, dtype="float32")
        # The flip comes first also because it copies: brightness adds in place on PyTorch.
        change = self.flip.get_random_transformation(images, training=True, seed=_seed(rng))
        images = self.flip.transform_images(images, change, training=True)
        masks = self.flip.transform_segmentation_masks(masks, change, training=True)
        for layer in self.tones:
            change = layer.get_random_transformation(images, training=True, seed=_seed(rng))
            images = layer.transform_images(images, change, training=True)
        masks = masks[..., 0] if flat else masks
        return (_array(images), _array(masks)) if on_host else (images, masks)


def _turned(values: Any, turns: npt.NDArray[np.int64]) -> Any:
    """Each image turned by so many quarters; an array is turned in place."""
    for turn in np.unique(turns[turns > 0]):
        if isinstance(values, np.ndarray):
            turned = np.flatnonzero(turns == turn)
            values[turned] = np.rot90(values[turned], turn, axes=(1, 2))
        else:
            turned = (turns == turn).reshape(-1, *[1] * (len(values.shape) - 1))
            values = keras.ops.where(
                turned, keras.ops.rot90(values, int(turn), axes=(1, 2)), values
            )
    return values


def _joined(parts: list[Any]) -> Any:
    if len(parts) == 1:
        return parts[0]
    on_host = isinstance(parts[0], np.ndarray)
    return np.concatenate(parts) if on_host else keras.ops.concatenate(parts)


def _labels(masks: Any) -> Any:
    if isinstance(masks, np.ndarray):
        return masks.astype(np.int32, copy=False)
    return keras.ops.cast(masks, "int32")


def _array(tensor: Any) -> npt.NDArray[np.float32]:
    # On PyTorch Keras converts by `np.array(tensor)`, which NumPy 2 answers with a warning.
    torch = keras.backend.backend() == "torch"
    values: npt.NDArray[np.float32] = (
        tensor.detach().cpu().numpy() if torch else keras.ops.convert_to_numpy(tensor)
    )
    return values


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))


def _windows(
    values: Any,
    order: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
    columns: npt.NDArray[np.int64],
    size: int,
) -> Any:
    """One square window of every chosen image, copied without a loop."""
    if not isinstance(values, np.ndarray):
        side = np.arange(size)
        across = columns[:, None, None] + side[None, None, :]
        return values[order[:, None, None], rows[:, None, None] + side[None, :, None], across]
    views = np.lib.stride_tricks.sliding_window_view(values, (size, size), axis=(1, 2))
    # The view puts the window last; channels, if there are any, belong behind it.
    chosen = views[order, rows, columns]
    if chosen.ndim == 4:
        chosen = np.moveaxis(chosen, 1, -1)
    return np.ascontiguousarray(chosen)
