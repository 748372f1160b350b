"""Pictures of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kerasloss import _check


def plot_weights(history: Any) -> Any:
    """Draws the terms of a compound and their weights over a training.

    Needs matplotlib: `pip install 'kerasloss[plot]'`.

    Args:
        history: what `fit` returned, or its `history`.

    Returns:
        The `matplotlib.figure.Figure`: the terms above (a dashed line for validation), the weights
        below. It is not shown; `figure.savefig("weights.png")` keeps it.

    Raises:
        ValueError: if the history holds no weights.
        ImportError: if matplotlib is missing.

    Example:

    >>> loss = kerasloss.Dice() + kerasloss.CrossEntropy()
    >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(1, 1)])
    >>> model.compile(loss=loss)
    >>> x = np.zeros((4, 8, 8, 1))
    >>> history = model.fit(x, x, verbose=0, callbacks=[kerasloss.DynamicWeighting()])
    >>> figure = kerasloss.plot_weights(history)
    """
    logs: Mapping[str, Sequence[float]] = getattr(history, "history", history)
    weights = [name for name in logs if str(name).startswith("weight/")] if logs else []
    if not weights:
        raise _check.error(
            "plot_weights",
            "a history with the weights of a compound",
            f"the columns {list(logs)}" if isinstance(logs, Mapping) else repr(logs),
            "Pass kerasloss.DynamicWeighting() to `fit`.",
        )
    try:
        from matplotlib.figure import Figure
    except ImportError as problem:
        raise ImportError(
            "`plot_weights` needs matplotlib: `pip install 'kerasloss[plot]'`."
        ) from problem
    figure = Figure(figsize=(7.0, 5.5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    epochs = range(1, len(logs[weights[0]]) + 1)
    mark = "o" if len(epochs) == 1 else None
    for index, weight in enumerate(weights):
        term, color = weight.removeprefix("weight/"), f"C{index % 10}"
        for name, style in ((term, "-"), (f"val_{term}", "--")):
            if name in logs:
                above.plot(epochs, logs[name], style, color=color, marker=mark, label=name)
        below.plot(epochs, logs[weight], color=color, marker=mark, label=term)
    above.set_ylabel("value of the term")
    below.set(xlabel="epoch", ylabel="weight", ylim=(0, None))
    below.xaxis.get_major_locator().set_params(integer=True)
    for panel in (above, below):
        panel.grid(alpha=0.3)
        panel.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    return figure
