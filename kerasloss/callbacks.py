"""The callback that makes a compound's state part of the model that trains with it."""

from __future__ import annotations

import weakref
from typing import Any

import keras

from kerasloss import _check
from kerasloss.compound import Compound
from kerasloss.losses.base import SegmentationLoss
from kerasloss.state import CompoundState


class DynamicWeighting(keras.callbacks.Callback):
    """Lets the weights of a `kerasloss.Compound` move during `fit`, on every backend.

    It finds each compound in the model's loss, adds its state to the model's metrics, and tells it
    when the model trains and when it validates: validation changes neither weights nor memory.
    `History`, the progress bar and every logger then hold each term (`dice`, `val_dice`) and its
    weight (`weight/dice`). `skipped_steps` counts the training steps so far in which a term was NaN
    or infinite, so that the weights stayed.

    Pass it to every `fit`. Between them weights and memory stay as they are, so training goes on
    where it stopped, also from a saved model.

    Raises:
        ValueError: if the model was not compiled with a compound.

    Example:

    >>> loss = kerasloss.Compound(
    ...     {"ce": kerasloss.CrossEntropy(), "dice": kerasloss.Dice()},
    ...     weighting=kerasloss.weighting.DynamicMemoryFusion(),
    ... )
    >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(1, 1)])
    >>> model.compile(loss=loss)
    >>> x = np.zeros((4, 8, 8, 1))
    >>> history = model.fit(x, x, verbose=0, callbacks=[kerasloss.DynamicWeighting()])
    >>> sorted(history.history)
    ['ce', 'dice', 'loss', 'skipped_steps', 'weight/ce', 'weight/dice']
    """

    def __init__(self) -> None:
        super().__init__()
        self._compounds: list[Compound] = []
        self._fitting = False

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        self._compounds = _compounds_in(getattr(model, "loss", None))
        if not self._compounds:
            raise _check.error(
                "DynamicWeighting",
                "a model compiled with a kerasloss.Compound",
                f"loss={getattr(model, 'loss', None)!r}",
            )
        _check_outputs(model, self._compounds)
        for compound in self._compounds:
            compound.learn_with(model)
        _track(model, [compound._state for compound in self._compounds])
        for compound in self._compounds:
            compound.frozen_in = False
            compound._state.carried = True
            compound._state.callbacks.append(weakref.ref(self))

    def on_train_begin(self, logs: Any = None) -> None:
        # Keras has told all callbacks of a `fit` about the model before it begins.
        for state in (compound._state for compound in self._compounds):
            told = {callback for reference in state.callbacks if (callback := reference())}
            state.callbacks = []
            # Those of a `fit` that failed before it began were given other parameters.
            met = sum(callback.params is self.params for callback in told)
            if met > 1:
                raise _check.error("DynamicWeighting", "one callback in a `fit`", f"{met} of them")

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._fitting = True
        self._switch(1.0)
        for compound in self._compounds:
            compound._state.callbacks = []  # in a loop without `on_train_begin`
            compound._state.begins.assign(1.0)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        moving = [compound._state for compound in self._compounds if compound.weighting is not None]
        if moving and logs is not None:
            counts = [float(keras.ops.convert_to_numpy(state.skipped.value)) for state in moving]
            logs["skipped_steps"] = sum(counts)
        # A plain `evaluate` from now on, which has no callback, is to change nothing.
        self._fitting = False
        self._switch(0.0)

    def on_test_begin(self, logs: Any = None) -> None:
        for compound in self._compounds:
            compound._state.callbacks = []
        self._switch(0.0)

    def on_test_end(self, logs: Any = None) -> None:
        self._switch(1.0 if self._fitting else 0.0)

    def _switch(self, training: float) -> None:
        for compound in self._compounds:
            compound._state.training.assign(training)


def _track(model: keras.Model, states: list[CompoundState]) -> None:
    """Makes the states, and no others, part of the model's step, where they are not already."""
    missing = [s for s in states if not any(s is metric for metric in _leaf_metrics(model))]
    former = list(getattr(model, "_kerasloss_states", []))
    stale = [state for state in former if not any(state is wanted for wanted in states)]
    if not missing and not stale:
        return
    # A built subclassed model takes no new attributes; Keras unlocks it in the same way itself.
    tracker = model._tracker
    locked = tracker.locked
    tracker.unlock()
    try:
        for state in stale:
            model._kerasloss_states.remove(state)
        # An attribute is how Keras tracks a metric that was not passed to `compile`. A private
        # one: Keras saves those last, so the state is saved as part of the loss, and found.
        kept = [state for state in former if any(state is wanted for wanted in states)]
        model._kerasloss_states = [*kept, *missing]
    finally:
        if locked:
            tracker.lock()
    for function in ("train_function", "test_function"):
        if getattr(model, function, None) is not None:
            getattr(model, f"make_{function}")(force=True)


def _check_outputs(model: keras.Model, compounds: list[Compound]) -> None:
    """Refuses what would mix up the values of two outputs."""
    leaves = _compound_leaves(model.loss)
    outputs = len(getattr(model, "outputs", None) or [])
    for_all = not keras.tree.is_nested(model.loss) and outputs > 1
    if len(leaves) > len(compounds) or for_all:
        raise _check.error(
            "DynamicWeighting", "a compound of its own for every output", "one for several"
        )
    names = [term for compound in compounds for term in compound._state.terms]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise _check.error(
            "DynamicWeighting",
            "different term names in the compounds of one model",
            f"{', '.join(twice)} more than once",
            "History would show only one of them; rename the terms.",
        )


def _compounds_in(loss: Any) -> list[Compound]:
    """Every compound in what was passed to `compile`, each once."""
    found: list[Compound] = []
    for leaf in _compound_leaves(loss):
        if not any(leaf is other for other in found):
            found.append(leaf)
    return found


def _compound_leaves(loss: Any) -> list[Compound]:
    """The compounds in what was passed to `compile`, those inside of a wrapper included."""
    leaves = [
        leaf.tuned() if isinstance(leaf, SegmentationLoss) else leaf
        for leaf in keras.tree.flatten(loss)
    ]
    return [leaf for leaf in leaves if isinstance(leaf, Compound)]


def _leaf_metrics(model: keras.Model) -> list[Any]:
    """The model's metrics, those inside the compiled collection included."""
    leaves: list[Any] = []
    for metric in model.metrics:
        leaves += [metric, *getattr(metric, "metrics", [])]
    return leaves
