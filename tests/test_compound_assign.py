"""`Compound.assign`: weights and options that change at once, or a refusal that changes nothing.

Losses are called directly here; `test_dynamic_weighting.py` has what happens inside `fit`.
"""

import numpy as np
import oracle_weighting as oracle
import pytest
from backend_tools import array
from keras import ops
from test_compound import NAN, check, check_same, full, snapshot, static, train, two_terms
from test_golden import A

import kerasloss

# NumPy 2.4 warns about `np.array(variable)`, which Keras 3.15 itself calls.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def test_terms_are_copies():
    terms, auxiliary = two_terms(), kerasloss.IoU()
    loss = kerasloss.Compound(terms, auxiliary=auxiliary)
    before = array(loss.values(*A))
    terms["dice"].smooth = auxiliary.smooth = 50.0
    del terms["focal"]
    np.testing.assert_array_equal(array(loss.values(*A)), before)
    loss.assign(dice={"smooth": 3.0})
    assert terms["dice"].smooth == 50.0


def test_one_loss_in_two_places():
    """Copies: neither a second compound nor a second term sees what one is assigned."""
    dice = kerasloss.Dice(smooth=0.0)
    loss = kerasloss.Compound({"a": dice, "b": dice})
    other = kerasloss.Compound({"a": dice})
    loss.assign(a={"smooth": 5.0})
    check(other(*A), 0.310345, rtol=5e-6)
    check(loss(*A), (array(kerasloss.Dice(smooth=5.0)(*A)) + 0.310345) / 2, rtol=5e-6)


def test_assign():
    loss = full()
    loss.assign(
        weights={"dice": 2.0},
        focal={"gamma": 1.0, "alpha": 0.25},
        dice={"smooth": np.float32(0.5)},
        weighting={"warmup": 9},
        auxiliary={"smooth": 3.0},
        auxiliary_scale=2,
        auxiliary_decay=0.25,
    )
    focal = array(kerasloss.Focal(gamma=1.0, alpha=0.25)(*A))
    expected = 0.3 * focal + 2 * array(kerasloss.Dice(smooth=0.5)(*A))
    for step in range(2):
        gamma = oracle.auxiliary_weight(step, 2, 0.25)
        check(loss.values(*A), [expected + gamma * array(kerasloss.IoU(smooth=3.0)(*A))])
        train(loss, 1)
    config = loss.get_config()
    assert config["weighting"]["config"]["warmup"] == 9
    assert config["terms"]["focal"]["config"]["gamma"] == 1
    train(loss, 6)
    check(loss.state.weights_now.value, [0.3, 2.0])
    train(loss, 1)
    check(ops.sum(loss.state.weights_now.value), 1)


BAD_CHANGES = [
    {"jaccard": {"smooth": 1.0}},
    {"dice": {"smoth": 1.0}},
    {"dice": {"pool": "batch"}},
    *({"dice": {"smooth": value}} for value in (-1.0, NAN, float("inf"), "1", None, True)),
    {"dice": {"smooth": 1.0, "gamma": 1.0}},
    {"focal": {"gamma": -0.1}},
    {"focal": {"alpha": 1.5}},
    {"focal": {"alpha": None}},
    *({"weights": {"focal": value}} for value in (-1.0, NAN, "1", None, True)),
    {"weights": {"dice": 1.0, "jaccard": 1.0}},
    {"weights": {"focal": 0.0, "dice": 0.0}},
    {"weighting": {"warmup": 1}},
    {"weighting": {"memory": 9}},
    {"weighting": {"method": "var"}},
    {"auxiliary": {"smooth": -1.0}},
    {"auxiliary": {"gamma": 1.0}},
    *({"auxiliary_scale": value} for value in (-1.0, NAN, "1", None)),
    {"auxiliary_decay": -0.1},
    {"reduction": "sum"},
    {"iou": {"smooth": 1.0}},
]


@pytest.mark.once
@pytest.mark.parametrize("change", BAD_CHANGES, ids=str)
def test_bad_assign_changes_nothing(change):
    loss = full()
    before = snapshot(loss)
    good = {"weights": {"dice": 0.9}, "dice": {"smooth": 7.0}, "auxiliary_decay": 0.1}
    with pytest.raises(ValueError):
        loss.assign(**good | change)
    check_same(loss, before)
    with pytest.raises(ValueError):  # the good ones last
        loss.assign(**change | {name: good[name] for name in good if name not in change})
    check_same(loss, before)


@pytest.mark.parametrize("change", [{"weights": 3}, {"dice": 3}, {"dice": None}], ids=str)
def test_assign_of_something_else_than_a_dict_changes_nothing(change):
    loss = full()
    before = snapshot(loss)
    with pytest.raises((TypeError, ValueError)):
        loss.assign(**{"weights": {"dice": 0.9}, "auxiliary_decay": 0.1} | change)
    check_same(loss, before)


@pytest.mark.parametrize("owner", ["weighting", "auxiliary", "auxiliary_scale", "auxiliary_decay"])
def test_assign_of_a_part_that_is_not_there(owner):
    change = 1.0 if "_" in owner else {"smooth": 1.0}
    with pytest.raises(ValueError, match=owner):
        static().assign(**{owner: change})
