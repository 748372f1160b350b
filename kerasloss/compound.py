"""Several losses as one, with weights that may move while the model trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops
from keras.saving import (
    deserialize_keras_object,
    register_keras_serializable,
    serialize_keras_object,
)

from kerasloss import _check
from kerasloss.changes import planned
from kerasloss.losses.base import SegmentationLoss, reduce_images
from kerasloss.losses.distances import targets
from kerasloss.ops.native import gradient_norms
from kerasloss.ops.pixels import Tensor
from kerasloss.state import CompoundState
from kerasloss.terms import (
    chain_to_logits,
    check_terms,
    copy_part,
    log_variances_in,
    means_of,
    per_image,
    starting_weights,
)
from kerasloss.weighting import Weighting


@register_keras_serializable("kerasloss")
class Compound(SegmentationLoss):
    """A weighted sum of named losses whose weights and parameters can change during training.

    Formula, for training step t (0 for the first):

    ```python
    loss = sum of weight_i * loss_i  +  auxiliary_scale * exp(-auxiliary_decay * t) * auxiliary
    ```

    With `weighting`, the weights follow from the values that the terms took in the last training
    steps; the weights themselves carry no gradient. Pass `kerasloss.DynamicWeighting()` to `fit`
    (or `metrics=[loss.state]` to `compile`, where `evaluate` and validation count as training,
    too): that makes the state part of the training step, and puts every term and every weight into
    `History`. It is optional for a sum with neither `weighting` nor `auxiliary`.

    Weights and numeric options live in variables: `assign` changes them without a retrace.

    Edge cases: a step in which a term is NaN or infinite does not enter the memory. A term whose
    starting weight is 0 keeps the weight 0 under every strategy.

    Args:
        terms: name -> loss. The losses are copied; later changes go through `assign`.
        weights: name -> starting weight, >= 0, not all 0; by default `1 / number of terms` each.
        weighting: a strategy such as `kerasloss.weighting.DynamicMemoryFusion()`, or None for
            weights that stay.
        auxiliary: a further loss whose weight decays, or None.
        auxiliary_scale: weight of `auxiliary` at the start, >= 0.
        auxiliary_decay: decay rate of that weight per training step, >= 0.
        reduction: as in `kerasloss.losses.SegmentationLoss`.
        name: as in `keras.losses.Loss`.
        dtype: as in `keras.losses.Loss`.

    Example:

    >>> loss = kerasloss.Compound(
    ...     {"ce": kerasloss.CrossEntropy(), "dice": kerasloss.Dice()},
    ...     weights={"ce": 0.3, "dice": 0.7},
    ... )
    >>> loss.assign(weights={"ce": 0.5, "dice": 0.5}, dice={"smooth": 0.1})

    Reference:
        Golnari, Diba (2024), Adaptive real-time multi-loss function optimization using dynamic
        memory fusion framework (the decaying auxiliary loss). https://arxiv.org/abs/2410.19745
    """

    def __init__(
        self,
        terms: Mapping[str, SegmentationLoss],
        *,
        weights: Mapping[str, float] | None = None,
        weighting: Weighting | None = None,
        auxiliary: SegmentationLoss | None = None,
        auxiliary_scale: float = 1.0,
        auxiliary_decay: float = 0.05,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
        **state: Any,
    ) -> None:
        super().__init__(reduction=reduction, name=name or "compound", dtype=dtype)
        key = state.pop("state", None)
        if state:
            raise TypeError(f"`Compound` got unexpected arguments: {', '.join(state)}")
        check_terms(terms, weighting, auxiliary, nested=Compound)
        self.terms = {term: copy_part(loss) for term, loss in terms.items()}
        self.weighting = None if weighting is None else copy_part(weighting)
        self.auxiliary = None if auxiliary is None else copy_part(auxiliary)
        settings: dict[str, Any] = {}
        for owner, part in self._parts().items():
            for option in part.tunable:
                value = getattr(part, option)
                if value is not None:
                    settings[f"{owner}/{option}"] = value
        self._made = {name for name, value in settings.items() if not _check.is_variable(value)}
        logged = list(terms)
        if self.auxiliary is not None:
            logged.append(self._auxiliary_name())
            for option, value in (
                ("auxiliary_scale", auxiliary_scale),
                ("auxiliary_decay", auxiliary_decay),
            ):
                _check.number("Compound", option, value, minimum=0.0)
                settings[option] = float(value)
        self._state = CompoundState(
            logged,
            starting_weights(tuple(terms), weights),
            self.weighting,
            settings,
            key=key,
            name=self.name,
        )
        for setting, variable in self._state.settings.items():
            owner, _, option = setting.partition("/")
            if option:
                setattr(self._parts()[owner], option, variable)
        # Whether JAX has compiled a step that holds the present numbers as constants.
        self.frozen_in = False

    @property
    def state(self) -> CompoundState:
        """The metric that holds weights, memory and means; for `compile(metrics=[loss.state])`.

        A loss cannot see which model calls it. Whoever takes the state is taken to put it where
        the training step finds it; on JAX, where it would be lost otherwise, that is verified.
        """
        self._state.listed = True
        if self._state.at_rest:
            self._state.at_rest = False
            self._state.training.assign(1.0)
        return self._state

    def __dir__(self) -> list[str]:
        # Keras looks at every attribute when it saves; that must not count as taking the state.
        return [name for name in super().__dir__() if name != "state"]

    def __call__(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        self._check_tracked()
        losses = list(self.terms.values())
        if self.auxiliary is not None:
            losses.append(self.auxiliary)
        images = per_image(losses, y_true, y_pred, sample_weight)
        means = means_of(images)
        auxiliary_weight = self._state.auxiliary_weight() if self.auxiliary is not None else None
        gradients = None
        if self.weighting is not None and self.weighting.sees_gradients:
            terms = list(self.terms.values())
            gradients = gradient_norms(
                lambda pred: means_of(per_image(terms, y_true, pred, sample_weight)),
                y_pred,
                chain_to_logits(terms),
            )
        weights = self._state.advance(ops.stack(means), ops.shape(images[0][0])[0], gradients)
        factors = [weights[index] for index in range(len(self.terms))]
        if auxiliary_weight is not None:
            factors.append(auxiliary_weight)
        averages = self.reduction not in (None, "none", "sum")
        if not averages:
            means = [
                reduce_images(value, weight, self.reduction, value.dtype)
                for value, weight in images
            ]
        total = sum(
            ops.cast(factor, mean.dtype) * mean for factor, mean in zip(factors, means, strict=True)
        )
        penalty = self._state.penalty()
        if penalty is not None:
            total = total + penalty
        if averages:
            # For what Keras does to a mean over one of several replicas.
            total = reduce_images(ops.expand_dims(total, 0), None, self.reduction, total.dtype)
        return ops.cast(total, self.dtype)

    def values(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Returns the weighted sum for every image, shape `(batch,)`; changes no state."""
        weights = ops.convert_to_tensor(self._state.weights_now)
        parts = [(weights[index], loss) for index, loss in enumerate(self.terms.values())]
        if self.auxiliary is not None:
            parts.append((self._state.auxiliary_weight(), self.auxiliary))
        seen = targets([loss for _, loss in parts], y_true, y_pred)
        values = [
            (factor, loss.values(target, y_pred, sample_weight))
            for (factor, loss), target in zip(parts, seen, strict=True)
        ]
        return sum(ops.cast(factor, value.dtype) * value for factor, value in values)

    def assign(self, **changes: Any) -> None:
        """Sets weights or numeric options, at once and without a retrace.

        Args:
            **changes: `weights={"dice": 0.7}` sets (starting and current) weights by name, those
                not named stay; `dice={"smooth": 0.1}` sets options of the term `dice`;
                `weighting={"warmup": 30}` those of the strategy; `auxiliary={...}`,
                `auxiliary_scale=...` and `auxiliary_decay=...` those of the auxiliary loss.

        Raises:
            ValueError: for a name or option that does not exist, a value out of range, or when the
                change could not reach the compiled training step. Then nothing is changed.
        """
        if self.frozen_in:
            raise _check.error(
                "Compound.assign",
                "the state to be part of the model's training step",
                "a loss that JAX has compiled with its present numbers as constants",
                "Pass metrics=[loss.state] to `compile`, or run `fit` with "
                "kerasloss.DynamicWeighting() first: it rebuilds the step.",
            )
        for variable, value in planned(changes, self._parts(), self._state, self._starting):
            variable.assign(np.asarray(value, "float32"))

    def learn_with(self, model: keras.Model) -> None:
        """Finds what the strategy learns in a model, as `kerasloss.DynamicWeighting` does.

        Raises:
            ValueError: if the strategy learns, and the model has no `kerasloss.LogVariances` layer
                for the terms of this compound, or more than one.
        """
        if self.weighting is not None and self.weighting.learns:
            self._state.learn_with(log_variances_in(model, tuple(self.terms)))

    def summands(self) -> list[tuple[str, SegmentationLoss, float]]:
        """Returns name, a copy of the loss, and starting weight of every term."""
        weights = self._starting()
        return [
            (term, self._part_copy(term, loss), weights[term]) for term, loss in self.terms.items()
        ]

    def copy(self, prefix: str = "") -> Compound:
        """Returns a compound of the same terms, options and starting weights, not yet trained.

        Args:
            prefix: put before its name and those of its terms, so that one model may hold both.
        """
        terms = self.summands()
        options: dict[str, Any] = {}
        if self.weighting is not None:
            options["weighting"] = self._part_copy("weighting", self.weighting)
        if self.auxiliary is not None:
            auxiliary = self._part_copy("auxiliary", self.auxiliary)
            auxiliary.name = f"{prefix}{auxiliary.name}"
            config = self.get_config()
            options |= {name: config[name] for name in ("auxiliary_scale", "auxiliary_decay")}
            options["auxiliary"] = auxiliary
        return Compound(
            {f"{prefix}{term}": loss for term, loss, _ in terms},
            weights={f"{prefix}{term}": weight for term, _, weight in terms},
            reduction=self.reduction,
            name=f"{prefix}{self.name}",
            dtype=self._given_dtype,
            **options,
        )

    def restart(self) -> None:
        """Forgets past values and steps and returns to the starting weights, for a new training."""
        self._state.restart()

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.update(
            terms={term: serialize_keras_object(loss) for term, loss in self.terms.items()},
            weights=self._starting(),
            weighting=None if self.weighting is None else serialize_keras_object(self.weighting),
            auxiliary=None if self.auxiliary is None else serialize_keras_object(self.auxiliary),
            state=self._state.key,
        )
        if self.auxiliary is not None:
            for option in ("auxiliary_scale", "auxiliary_decay"):
                config[option] = float(ops.convert_to_numpy(self._state.settings[option].value))
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Compound:
        config = dict(config)
        config["terms"] = {
            term: deserialize_keras_object(loss) for term, loss in config["terms"].items()
        }
        for part in ("weighting", "auxiliary"):
            config[part] = deserialize_keras_object(config[part])
        return cls(**config)

    def _parts(self) -> dict[str, Any]:
        """Everything that has options of its own, by the name that `assign` knows it by."""
        parts: dict[str, Any] = {term: loss.tuned() for term, loss in self.terms.items()}
        if self.weighting is not None:
            parts["weighting"] = self.weighting
        if self.auxiliary is not None:
            parts["auxiliary"] = self.auxiliary.tuned()
        return parts

    def _part_copy(self, owner: str, part: Any) -> Any:
        """A copy that holds numbers where this compound has put variables of its own."""
        names = self._parts()[owner].tunable
        return copy_part(part, [name for name in names if f"{owner}/{name}" in self._made])

    def _starting(self) -> dict[str, float]:
        """The starting weight of every term."""
        try:
            start = ops.convert_to_numpy(self._state.weights_start.value)
        except TypeError as problem:
            # In the midst of an epoch Keras holds no variables on JAX: they are in the step.
            raise _check.error(
                "Compound",
                "to be read or changed between epochs",
                "a call in the midst of one",
                "On JAX use `on_epoch_begin` or `on_epoch_end` of a callback.",
            ) from problem
        return {term: float(weight) for term, weight in zip(self.terms, start, strict=True)}

    def _auxiliary_name(self) -> str:
        assert self.auxiliary is not None
        name = str(self.auxiliary.name)
        return f"auxiliary/{name}" if name in self.terms else name

    def _check_tracked(self) -> None:
        """Refuses a dynamic compound whose state the training step would silently drop."""
        # Both scopes are public; entering one is the public way to see the one around it.
        with keras.SymbolicScope() as symbolic:
            if symbolic.original_scope is not None:
                return  # Shapes only: `fit` does this before its callbacks exist.
        if not (self._state.can_learn or self._state.at_rest):
            raise _check.error(
                self.name,
                "a model with the layer kerasloss.LogVariances for the terms of this loss",
                "a call without",
                "Pass kerasloss.DynamicWeighting() in the callbacks of `fit`, which finds the "
                "layer, or call loss.learn_with(model).",
            )
        tracked = self._state.listed or self._state.carried
        if keras.backend.backend() == "jax":
            with keras.StatelessScope() as scope:
                outer = scope.original_scope
            if outer is not None:
                tracked = outer.get_current_value(self._state.step) is not None
                self.frozen_in = not tracked
        moves = self.weighting is not None or self.auxiliary is not None
        if moves and not tracked and not self._state.at_rest:
            raise _check.error(
                self.name,
                "a model that carries the state of this loss",
                "a call outside of one",
                "Pass kerasloss.DynamicWeighting() in the callbacks of `fit`, or "
                "metrics=[loss.state] to `compile`; in a loop of your own carry "
                "loss.state.variables through the step.",
            )
