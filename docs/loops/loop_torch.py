"""A training loop in PyTorch for a compound whose weights move."""

import torch


def train(model, loss, optimizer, batches, epochs):
    """Yields the values and weights of the terms after every epoch."""
    state = loss.state  # whoever takes it promises to carry it: PyTorch runs as it is written
    loss.learn_with(model)
    optimizer.build(model.trainable_variables)

    for _ in range(epochs):
        state.reset_state()
        for x, y in batches:
            model.zero_grad()
            loss(y, model(x, training=True)).backward()
            gradients = [variable.value.grad for variable in model.trainable_variables]
            with torch.no_grad():
                optimizer.apply(gradients, model.trainable_variables)
        yield state.result()
