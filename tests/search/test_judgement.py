"""The words at the end of a search say what its numbers allow, and nothing else."""

import dataclasses

import numpy as np
import pytest
from kerasloss_search.findings import findings
from kerasloss_search.jobs import Final
from kerasloss_search.judgement import judge, sentences
from kerasloss_search.records import Record
from kerasloss_search.scores import SCORES
from kerasloss_search.space import Space

SPACE = Space.of(("dice", "focal", "iou", "cross_entropy"))
DICE = [SCORES["dice"]]


def record(number, baseline=None, score=0.7, **more):
    recipe = SPACE.decode(SPACE.baselines()[baseline or "dice"])
    return Record(number, recipe, baseline, "complete", score, 1.0, {"dice": score}, **more)


def trained(number, level, images=20, seeds=5, validation=None, noise=0.01):
    rng = np.random.default_rng(number)
    return [
        Final(
            number,
            1000 + seed,
            level if validation is None else validation,
            {"dice": (0.3 + level / 2 + rng.normal(0, noise, images)).tolist()},
            [],
            1.0,
        )
        for seed in range(seeds)
    ]


def groups(images=20, size=1):
    return [f"group {index // size}" for index in range(images)]


def judged(levels, validations=None, **more):
    """Plain losses have the even numbers, searched ones the odd ones."""
    records = [record(n, "dice" if n % 2 == 0 else None) for n in levels]
    finals = {
        n: trained(n, level, validation=(validations or {}).get(n), **more)
        for n, level in levels.items()
    }
    return records, finals


def test_a_clear_winner_is_claimed():
    found = judge(*judged({0: 0.7, 1: 0.8}), groups(), DICE)
    assert found.best.number == 1
    claim = sentences(found, DICE)[0]
    assert claim.startswith("The best searched loss, dice, beats the best plain loss, dice: +0.0")
    for words in (
        "95 % interval", "p = 0.008", "5 seeds each", "20 independent groups",
        "adam at 2.0e-03 against adam at 2.0e-03",
    ):  # fmt: skip
        assert words in claim


def test_a_clear_loser_is_named_and_the_plain_loss_is_kept():
    found = judge(*judged({0: 0.8, 1: 0.7}), groups(), DICE)
    assert found.best.number == 0
    lines = sentences(found, DICE)
    assert lines[0].startswith(
        "The best plain loss, dice, beats the best searched loss, dice: -0.0"
    )
    assert lines[-1].startswith("best_loss.json holds dice")


def test_no_difference_is_called_so():
    found = judge(*judged({0: 0.75, 1: 0.7501}), groups(), DICE)
    claim = sentences(found, DICE)[0]
    assert claim.startswith("No clear difference between the best searched loss, dice, and dice: ")


def test_validation_chooses_and_test_images_do_not():
    found = judge(*judged({0: 0.7, 1: 0.9, 3: 0.6}, {1: 0.5, 3: 0.8, 0: 0.7}), groups(), DICE)
    assert found.best.number == found.searched.number == 3


def test_few_groups_can_show_nothing_and_this_is_said():
    found = judge(*judged({0: 0.7, 1: 0.8}), groups(size=5), DICE)
    lines = sentences(found, DICE)
    assert lines[0].startswith("No clear difference")
    assert "4 independent groups" in lines[1]
    assert "more groups of test images are needed" in lines[1]


def test_few_seeds_can_show_nothing_and_this_is_said():
    found = judge(*judged({0: 0.7, 1: 0.8}, seeds=3), groups(), DICE)
    lines = sentences(found, DICE)
    assert lines[0].startswith("No clear difference")
    assert "3 seeds no difference could have been shown" in lines[1]
    assert "more seeds are needed" in lines[1]


def test_several_comparisons_are_corrected_for():
    levels = {0: 0.7, 1: 0.8, 3: 0.8, 5: 0.8}
    found = judge(*judged(levels), groups(), DICE)
    assert [pair.p for pair in found.pairs] == pytest.approx([3 * 2 / 252] * 3, rel=0.5)
    assert all(pair.p >= pair.comparison.p for pair in found.pairs)
    assert "correction for 3 comparisons" in sentences(found, DICE)[0]


def test_less_is_better_where_it_is():
    scores = [dataclasses.replace(SCORES["dice"], name="dice", higher_is_better=False)]
    found = judge(*judged({0: 0.8, 1: 0.7}), groups(), scores)
    assert found.best.number == 1
    assert "beats the best plain loss" in sentences(found, scores)[0]


def test_nothing_to_compare_with():
    records, finals = judged({1: 0.7})
    lines = sentences(judge(records, finals, groups(), DICE), DICE)
    assert "no plain loss to compare with" in lines[0] and "5 fresh seeds" in lines[1]
    records, finals = judged({0: 0.7})
    assert "No searched loss" in sentences(judge(records, finals, groups(), DICE), DICE)[0]


def with_terms(number, terms, score):
    params = dict(SPACE.baselines()["dice"])
    for term in SPACE.terms:
        params[f"use/{term}"] = term in terms
    return Record(number, SPACE.decode(params), None, "complete", score, 1.0, {"dice": score})


def test_a_term_that_helps_is_found_and_others_are_not():
    rng = np.random.default_rng(0)
    trials = [
        with_terms(n, ["dice", "focal"] if n % 2 else ["focal", "iou"][: 1 + n // 2 % 2], s)
        for n, s in enumerate(np.where(np.arange(40) % 2, 0.8, 0.7) + rng.normal(0, 0.02, 40))
    ]
    lines = findings(trials, {}, SCORES["dice"])
    assert any("those with dice scored 0.1" in line and "better" in line for line in lines)
    assert not any("with focal" in line for line in lines)
    assert "No parameter can be shown" in lines[1]


def test_trials_that_were_stopped_are_told_with_a_finding():
    """They are not in the mean, and would have turned it round here."""
    good = [with_terms(n, ["dice"], 0.80 + n / 1000) for n in range(6)]
    stopped = [
        dataclasses.replace(with_terms(6 + n, ["dice"], 0.5), outcome="pruned") for n in range(15)
    ]
    others = [with_terms(30 + n, ["focal"], 0.70 + n / 1000) for n in range(20)]
    lines = findings([*good, *stopped, *others], {}, SCORES["dice"])
    (line,) = [line for line in lines if "those with dice" in line]
    assert "Of the trials that ran to their end" in line
    assert "(6 against 20, p < 0.001 after correction); 15 of 21 with did not;" in line


def test_noise_is_no_finding():
    rng = np.random.default_rng(1)
    trials = [
        with_terms(n, ["dice"] if n % 2 else ["focal"], s)
        for n, s in enumerate(rng.normal(0.7, 0.05, 30))
    ]
    lines = findings(trials, {"learning_rate": 0.7, "warmup": 0.3}, SCORES["dice"])
    assert "learning_rate (70%), warmup (30%)" in lines[1]
    assert lines[-1].startswith("No choice of a term")
    assert len(lines) == 3


def test_outcomes_are_counted():
    trials = [record(0, "dice"), dataclasses.replace(record(1), outcome="diverged")]
    line = findings(trials, {}, SCORES["dice"])[0]
    assert line == "Of 2 trials 1 ran to their end, 1 ended in a loss that is NaN or infinite."
