"""The same losses in other libraries, each as a function of the logits, for `benchmarks/losses.py`.

A peer that is not installed is left out. Torch libraries get their tensors channels first.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
from keras import ops


class Peer(NamedTuple):
    """A loss of another library.

    Attributes:
        loss: name of ours that it is compared with.
        library: where it comes from.
        make: returns the function of `(target, logits)`.
        same: whether both define the same number, so that the values are compared.
        layout: `"channels_last"`, `"channels_first"` or `"labels_first"` (integer labels beside
            channels-first logits).
    """

    loss: str
    library: str
    make: Callable[[], Callable[[Any, Any], Any]]
    same: bool = False
    layout: str = "channels_last"


def peers(channels: int, backend: str) -> Iterator[Peer]:
    """Every peer that can be had for so many channels on a backend."""
    yield from _keras(channels)
    if _installed("medicai"):
        yield from _medicai(channels)
    if backend == "torch":
        if _installed("monai"):
            for peer in _monai(channels):
                yield peer
                yield _on_channels_last(peer)
        if _installed("segmentation_models_pytorch"):
            yield from _smp(channels)


def _on_channels_last(peer: Peer) -> Peer:
    """A loss for channels first with what a Keras model hands out."""

    def make() -> Callable[[Any, Any], Any]:
        loss = peer.make()
        return lambda target, logits: loss(ops.moveaxis(target, -1, 1), ops.moveaxis(logits, -1, 1))

    return peer._replace(
        library=f"{peer.library}, channels last", make=make, layout="channels_last"
    )


def _installed(module: str) -> bool:
    return module in sys.modules or importlib.util.find_spec(module) is not None


def _probability(logits: Any) -> Any:
    return ops.sigmoid(logits) if logits.shape[-1] == 1 else ops.softmax(logits, axis=-1)


def _on_probability(loss: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda target, logits: loss(target, _probability(logits))


def _keras(channels: int) -> Iterator[Peer]:
    losses = keras.losses
    if channels == 1:
        yield Peer(
            "CrossEntropy", "Keras", lambda: losses.BinaryCrossentropy(from_logits=True), True
        )
        yield Peer("Focal", "Keras", lambda: losses.BinaryFocalCrossentropy(from_logits=True), True)
    else:
        yield Peer(
            "CrossEntropy", "Keras", lambda: losses.CategoricalCrossentropy(from_logits=True), True
        )
        yield Peer(
            "Focal",
            "Keras",
            lambda: losses.CategoricalFocalCrossentropy(alpha=1.0, from_logits=True),
            True,
        )
    yield Peer("Dice", "Keras", lambda: _on_probability(losses.Dice()))
    yield Peer("Tversky", "Keras", lambda: _on_probability(losses.Tversky()))


def _medicai(channels: int) -> Iterator[Peer]:
    losses = importlib.import_module("medicai.losses")
    kind = "Binary" if channels == 1 else "Categorical"
    for ours, theirs, options in (
        ("Dice", "DiceLoss", {}),
        ("IoU", "IoULoss", {}),
        ("Tversky", "TverskyLoss", {}),
        ("GeneralizedDice", "GeneralizedDiceLoss", {}),
        # Ten iterations and a gradient through the predicted centre line, as ours; its default are
        # fifty without that gradient.
        (
            "CLDice",
            "CenterlineDiceLoss",
            {"iters": 10, "memory_efficient_skeleton": False},
        ),
    ):
        loss = getattr(losses, kind + theirs)

        def make(loss: Any = loss, options: Any = options) -> Any:
            return loss(from_logits=True, num_classes=channels, **options)

        yield Peer(ours, "medicai", make)


def _monai(channels: int) -> Iterator[Peer]:
    losses = importlib.import_module("monai.losses")
    on = {"sigmoid": True} if channels == 1 else {"softmax": True}
    one = {"smooth_nr": 1.0, "smooth_dr": 1.0}

    def of(name: str, **options: Any) -> Callable[[], Callable[[Any, Any], Any]]:
        def make() -> Callable[[Any, Any], Any]:
            loss = getattr(losses, name)(**options)
            return lambda target, logits: loss(logits, target)

        return make

    def probabilities(name: str, **options: Any) -> Callable[[], Callable[[Any, Any], Any]]:
        def make() -> Callable[[Any, Any], Any]:
            loss = getattr(losses, name)(**options)
            activate = ops.sigmoid if channels == 1 else lambda z: ops.softmax(z, axis=1)
            return lambda target, logits: loss(activate(logits), target)

        return make

    first = "channels_first"
    yield Peer("Dice", "MONAI", of("DiceLoss", **on, **one), True, first)
    yield Peer("IoU", "MONAI", of("DiceLoss", jaccard=True, **on), False, first)
    yield Peer("Tversky", "MONAI", of("TverskyLoss", alpha=0.3, beta=0.7, **on, **one), True, first)
    yield Peer("GeneralizedDice", "MONAI", of("GeneralizedDiceLoss", **on), False, first)
    yield Peer("CLDice", "MONAI", probabilities("SoftDiceclDiceLoss", iter_=10), False, first)
    yield Peer("Boundary", "MONAI", of("BoundaryLoss", **on), False, first)
    yield Peer("Hausdorff", "MONAI", of("HausdorffDTLoss", **on), False, first)
    yield Peer("MCC", "MONAI", of("MCCLoss", **on), False, first)
    if channels == 1:
        yield Peer("Focal", "MONAI", of("FocalLoss", gamma=2.0), True, first)
    else:
        yield Peer("Focal", "MONAI", of("FocalLoss", gamma=2.0, use_softmax=True), False, first)
    if channels == 2:
        yield Peer(
            "UnifiedFocal", "MONAI", probabilities("AsymmetricUnifiedFocalLoss"), False, first
        )


def _smp(channels: int) -> Iterator[Peer]:
    # Its losses alone: the package itself would want torchvision and timm.
    name = "segmentation_models_pytorch"
    if name not in sys.modules:
        spec = importlib.util.find_spec(name)
        shell = types.ModuleType(name)
        shell.__path__ = list(spec.submodule_search_locations or [])  # type: ignore[union-attr]
        sys.modules[name] = shell
    losses = importlib.import_module(f"{name}.losses")
    mode = "binary" if channels == 1 else "multiclass"
    layout = "channels_first" if channels == 1 else "labels_first"

    def of(loss: str, **options: Any) -> Callable[[], Callable[[Any, Any], Any]]:
        def make() -> Callable[[Any, Any], Any]:
            built = getattr(losses, loss)(**options)
            return lambda target, logits: built(logits, target)

        return make

    for ours, theirs in (
        ("Dice", "DiceLoss"),
        ("IoU", "JaccardLoss"),
        ("Tversky", "TverskyLoss"),
        ("Focal", "FocalLoss"),
        ("Lovasz", "LovaszLoss"),
    ):
        yield Peer(ours, "smp", of(theirs, mode=mode), False, layout)
    if channels == 1:
        yield Peer("CrossEntropy", "smp", of("SoftBCEWithLogitsLoss"), True, layout)
        yield Peer("FocalTversky", "smp", of("TverskyLoss", mode=mode, gamma=0.75), False, layout)
    else:
        plain = of("SoftCrossEntropyLoss", smooth_factor=0.0)
        yield Peer("CrossEntropy", "smp", plain, True, layout)
