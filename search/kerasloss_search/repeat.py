"""Trains a loss of a finished search once more, to see that its numbers come again."""

from __future__ import annotations

import shlex
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.text import Text

from kerasloss_search.archive import Training, own_names, read_training
from kerasloss_search.driver import SearchError, call
from kerasloss_search.executor import LocalPool
from kerasloss_search.jobs import Final
from kerasloss_search.settings.assembly import look_for_own
from kerasloss_search.settings.wording import nearest

__all__ = ["repeat"]


def repeat(
    folder: Path,
    trial: int | None,
    seed: int | None,
    console: Console,
    own: Sequence[str] = (),
) -> int:
    """Repeats a training of the final stage and compares it with the record.

    Args:
        folder: the search's folder; nothing in it is changed.
        trial: number of a trial of the final stage; None for the best loss.
        seed: one of the fresh seeds; None for the first one.
        console: takes the result.
        own: dotted names of the search's own model, losses and strategies: the folder alone does
            not decide what is executed.

    Returns:
        The exit code: 0 where all numbers are the same, 1 where they are not.

    Raises:
        SearchError: if the folder holds no finished search, or not this training, or if it names
            modules that are not among `own`.
    """
    training = read_training(folder, trial, seed)
    more = [("--trial", trial), ("--seed", seed)]
    said = [word for option, value in more if value is not None for word in (option, str(value))]
    _check_own(own_names(training.settings), own, [str(folder), *said])
    # The user's own modules: beside the study file, where the folder lies by default, or here.
    look_for_own(training.settings.space, training.settings.model, str(folder.parent), "")
    with console.status(Text(f"Training {training.label}")):
        again = _trained(training)
    return _compare(training, again, console)


def _check_own(needed: Sequence[str], named: Sequence[str], arguments: Sequence[str]) -> None:
    """Refuses names that are in the folder alone: whoever wrote it would choose what is run."""
    for name in named:
        if name not in needed:
            expected = f"expected one of {', '.join(needed)}" if needed else "expected none"
            near = nearest(name, needed)
            raise SearchError(
                f"--own: {expected}, which the search used, received {name!r}; "
                + (f"did you mean {near!r}?" if near else "take it out")
            )
    if set(needed) - set(named):
        options = [word for name in needed for word in ("--own", name)]
        raise SearchError(
            "--own: the search used modules that are not kerasloss's, and repeating it executes "
            "them; if you trust them, name them: "
            + shlex.join(["kerasloss-search", "repeat", *arguments, *options])
        )


def _trained(training: Training) -> Final:
    """The same training once more, with all that it writes in a folder that is thrown away.

    The search's folder may be an archive that cannot be written; and what JAX has compiled for
    it, that is to say code, may have come from elsewhere with it.
    """
    trial, seed = training.trial, training.seed
    scratch = Path(tempfile.mkdtemp(prefix="kerasloss-repeat-"))
    log = scratch / "workers.log"
    place = scratch / "finals"
    try:
        place.mkdir()
        pool = LocalPool(training.settings, workers=1, backend=training.backend, log=log)
        try:
            stem = place / f"{trial:04d}-{seed}"
            again = call(pool, "final", trial, training.recipe, seed, stem)
        finally:
            pool.close()
    except SearchError as problem:
        for rest in (place, scratch / "compiled"):
            shutil.rmtree(rest, ignore_errors=True)
        raise SearchError(f"{problem} (workers.log: {log})") from problem
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    shutil.rmtree(scratch, ignore_errors=True)
    assert isinstance(again, Final)
    return again


def _compare(training: Training, again: Final, console: Console) -> int:
    before = training.before

    def say(line: str) -> None:
        console.print(line, highlight=False, markup=False)

    say(f"{training.label}, trial {training.trial}, seed {training.seed}")
    same = before.curve == again.curve and before.test == again.test
    rows = [("validation", before.validation, again.validation)]
    rows += [
        (f"test {name}", float(np.mean(values)), float(np.mean(again.test.get(name, np.nan))))
        for name, values in before.test.items()
    ]
    for name, then, now in rows:
        say(f"  {name}: {then:.6f} then, {now:.6f} now")
    say(
        "The same numbers, to the last digit."
        if same
        else "The numbers differ: another machine, another version of a package, or a GPU, whose "
        "sums depend on the order of its threads. results.json has the versions of then."
    )
    return 0 if same else 1
