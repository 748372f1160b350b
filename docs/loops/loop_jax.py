"""A training loop in JAX for a compound whose weights move."""

import jax
import keras


def train(model, loss, optimizer, batches, epochs):
    """Yields the values and weights of the terms after every epoch."""
    state = loss.state  # whoever takes it promises to carry it, as below
    loss.learn_with(model)
    optimizer.build(model.trainable_variables)

    def compute(trainable, fixed, carried, x, y):
        prediction, fixed = model.stateless_call(trainable, fixed, x, training=True)
        mapping = [
            *zip(model.trainable_variables, trainable, strict=True),
            *zip(state.variables, carried, strict=True),
        ]
        with keras.StatelessScope(state_mapping=mapping) as scope:
            value = loss(y, prediction)
        carried = [scope.get_current_value(variable) for variable in state.variables]
        return value, (fixed, carried)

    @jax.jit
    def step(values, x, y):
        trainable, fixed, carried, slots = values
        gradient = jax.value_and_grad(compute, has_aux=True)
        (_, (fixed, carried)), gradients = gradient(trainable, fixed, carried, x, y)
        trainable, slots = optimizer.stateless_apply(slots, gradients, trainable)
        return trainable, fixed, carried, slots

    for _ in range(epochs):
        state.reset_state()
        everything = (
            model.trainable_variables,
            model.non_trainable_variables,
            state.variables,
            optimizer.variables,
        )
        values = tuple([variable.value for variable in variables] for variables in everything)
        for x, y in batches:
            values = step(values, x, y)
        for variables, new in zip(everything, values, strict=True):
            for variable, value in zip(variables, new, strict=True):
                variable.assign(value)
        yield state.result()
