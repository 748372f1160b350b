"""A training loop in TensorFlow for a compound whose weights move."""

import tensorflow as tf


def train(model, loss, optimizer, batches, epochs):
    """Yields the values and weights of the terms after every epoch."""
    state = loss.state  # whoever takes it promises to carry it: a tf.function does
    loss.learn_with(model)
    optimizer.build(model.trainable_variables)

    @tf.function(jit_compile=True)
    def step(x, y):
        with tf.GradientTape() as tape:
            value = loss(y, model(x, training=True))
        gradients = tape.gradient(value, [v.value for v in model.trainable_variables])
        optimizer.apply(gradients, model.trainable_variables)

    for _ in range(epochs):
        state.reset_state()
        for x, y in batches:
            step(x, y)
        yield state.result()
