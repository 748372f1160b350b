"""The search from Python: the same settings, and what comes back."""

import json
import sys
from pathlib import Path

import kerasloss_search
import pytest
from fresh_python import printed_by
from kerasloss_search import session
from kerasloss_search.catalogue import Range

import kerasloss


@pytest.fixture
def asked(monkeypatch):
    """What the search is asked to do; it ends at once with a result."""
    seen = []

    def run(options, console):
        seen.append(options)
        options.output.mkdir(parents=True, exist_ok=True)
        content = {
            "verdict": ["No clear difference.", "More images."],
            "best_trial": 3,
            "trials": [],
        }
        (options.output / "results.json").write_text(json.dumps(content))
        kerasloss.save(kerasloss.Tversky(alpha=0.4), options.output / "best_loss.json")
        console.print("noise")
        return 0

    monkeypatch.setattr(session, "run", run)
    return seen


def test_importing_is_fast():
    code = "import sys, kerasloss_search; kerasloss_search.search; "
    code += "print([name for name in ('keras', 'optuna', 'mlflow') if name in sys.modules])"
    assert printed_by(code) == "[]"


def test_keywords(asked, tmp_path, capsys):
    outcome = kerasloss_search.search(
        images="a",
        masks=Path("b"),
        output=tmp_path / "o",
        trials=12,
        time="1h",
        terms=["dice", "focal"],
        learning_rate=(1e-4, 1e-2),
        auxiliary=False,
        group=None,
        final_seeds=2,
        term_options={"focal": {"gamma": [1, 4]}},
        model_options={"width": 8},
        verbose=False,
    )
    (options,) = asked
    assert options.data.images == Path("a") and options.data.masks == Path("b")
    assert (options.trials, options.time_s, options.final_seeds) == (12, 3600.0, 2)
    assert options.space.terms["focal"].ranges == {"gamma": Range(1.0, 4.0)}
    assert options.space.auxiliary is None
    assert options.space.learning_rate == Range(1e-4, 1e-2, log=True)
    assert options.model_options == {"width": 8, "depth": 3}
    assert outcome.folder == tmp_path / "o"
    assert outcome.verdict == "No clear difference.\nMore images."
    assert outcome.results["best_trial"] == 3
    assert isinstance(outcome.loss, kerasloss.Tversky) and outcome.loss.alpha == 0.4
    assert outcome.loss is outcome.loss
    assert not capsys.readouterr().out


def test_a_file_and_a_mapping_are_overridden(asked, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "study.toml").write_text(
        "[data]\nimages = 'a'\nmasks = 'b'\n[search]\ntrials = 9\nseed = 3\n"
    )
    kerasloss_search.search(tmp_path / "study.toml", trials=10)
    content = {"data": {"images": "a", "masks": "b"}, "search": {"trials": 9, "seed": 3}}
    kerasloss_search.search(content, trials=10, output=str(tmp_path / "o"))
    assert [(one.trials, one.seed) for one in asked] == [(10, 3), (10, 3)]
    assert asked[0].data.images == tmp_path / "a"
    assert asked[1].data.images == Path("a")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"trails": 3}, "trails: there is no such setting; did you mean trials"),
        ({"trials": 2.5}, "trials: expected a whole number >= 1, received 2.5"),
        ({"batch_size": "8"}, 'batch_size: expected a whole number >= 1, received "8"'),
        ({"terms": "dice"}, "terms: expected a list of names"),
        ({"term_options": 3}, "term_options: expected a mapping"),
        ({"model_options": [1]}, "model_options: expected a mapping"),
        ({"term_options": {"focal": {"gama": 2}}}, 'term_options: .*did you mean "gamma"'),
        (
            {"term_options": {"poly": {"epsilon": 2}}},
            "term_options: expected a term that is chosen",
        ),
        ({"strategies": ["var"]}, "strategies: expected static"),
        ({"images": None}, "images"),
        ({"term_options": {3: {}}}, "term_options: expected keys that are texts, received 3"),
        ({"term_options": {"focal": {3: 1}}}, "term_options: expected keys .* received 3"),
        ({"model_options": {3: 1}}, "model_options: expected names of arguments, received 3"),
        ({"model_options": {"a b": 1}}, 'model_options: .* received "a b"'),
    ],
)
def test_mistakes(asked, settings, words):
    with pytest.raises(ValueError, match=words):
        kerasloss_search.search(**{"images": "a", "masks": "b", **settings})
    assert not asked


@pytest.mark.parametrize("study", [{3: {}}, {"search": {3: 1}}, {"terms": {"focal": {3: 1}}}])
def test_keys_of_a_mapping_that_are_no_texts(asked, study):
    with pytest.raises(ValueError, match=r"\Astudy: expected keys that are texts, received 3.*\Z"):
        kerasloss_search.search(study, images="a", masks="b")
    assert not asked


@pytest.mark.parametrize("settings", [{"trials": 3}, {"size": 33}])
def test_settings_that_do_not_go_together(tmp_path, settings):
    given = {"images": "a", "masks": "b", "output": tmp_path / "o", **settings}
    with pytest.raises(kerasloss_search.SearchError, match=next(iter(settings))) as raised:
        kerasloss_search.search(**given)
    assert not isinstance(raised.value, ValueError)
    assert "SearchError: for settings that do not go together" in kerasloss_search.search.__doc__
    assert not (tmp_path / "o").exists()


def test_the_call_is_kept_so_that_it_can_be_repeated(asked, tmp_path):
    folder = tmp_path / "it's"
    (tmp_path / "study.toml").write_text("[data]\nimages = 'a'\nmasks = 'b'\n")
    kerasloss_search.search(
        tmp_path / "study.toml",
        trials=30,
        output=folder,
        group=None,
        auxiliary="none",
        model_options={"width": 8},
        tracking_uri="http://me:secret@host:5000",
        verbose=False,
    )
    (options,) = asked
    assert options.space.auxiliary is None
    assert options.command == (
        f"kerasloss_search.search({str(tmp_path / 'study.toml')!r}, trials=30, "
        f"output={str(folder)!r}, auxiliary='none', model_options={{'width': 8}}, "
        "tracking_uri='http://***@host:5000')"
    )
    assert options.tracking_uri == "http://me:secret@host:5000"
    kerasloss_search.search({"data": {"images": Path("a"), "masks": "b"}}, output=str(folder))
    assert asked[-1].command == (
        "kerasloss_search.search({'data': {'images': 'a', 'masks': 'b'}}, "
        f"output={str(folder)!r})"
    )


def test_all_mistakes_are_told_at_once(asked):
    with pytest.raises(ValueError, match="(?s)trials: .*\n.*epochs: "):
        kerasloss_search.search(images="a", masks="b", trials=0, epochs=0)


def test_a_stopped_search_has_no_outcome(monkeypatch):
    monkeypatch.setattr(session, "run", lambda options, console: 130)
    with pytest.raises(KeyboardInterrupt):
        kerasloss_search.search(images="a", masks="b")


def test_other_names_are_not_there():
    with pytest.raises(AttributeError, match="searched"):
        kerasloss_search.searched  # noqa: B018
