"""The picture of a training."""

import pytest
from training import X, Y, dynamic, fit, network

import kerasloss

pytestmark = pytest.mark.once


def test_plot_weights(tmp_path):
    pytest.importorskip("matplotlib")
    loss = dynamic("var", warmup=2)
    logs = fit(network(loss), kerasloss.DynamicWeighting(), epochs=4, validation_data=(X, 1 - Y))
    figure = kerasloss.plot_weights(logs)
    above, below = figure.axes
    drawn = {line.get_label(): list(line.get_ydata()) for line in above.lines}
    assert drawn == {name: logs[name] for name in ("ce", "val_ce", "dice", "val_dice")}
    drawn = {line.get_label(): list(line.get_ydata()) for line in below.lines}
    assert drawn == {name: logs[f"weight/{name}"] for name in ("ce", "dice")}
    figure.savefig(tmp_path / "weights.png")


@pytest.mark.parametrize("history", [{}, {"loss": [1.0]}, None])
def test_history_without_weights(history):
    with pytest.raises(ValueError, match=r"DynamicWeighting\(\) to `fit`"):
        kerasloss.plot_weights(history)
