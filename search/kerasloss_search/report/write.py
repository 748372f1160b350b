"""The report of a search: one HTML page that needs nothing else, and its pictures as PNG."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from kerasloss_search.dataset import Dataset
from kerasloss_search.report import figures, tables
from kerasloss_search.report.drawing import Picture
from kerasloss_search.report.finished import Finished, read_finished
from kerasloss_search.report.overlays import Overlays, key_of, overlays, read_data
from kerasloss_search.report.page import (
    Html,
    breakable,
    figure,
    image,
    joined,
    missing,
    page,
    paragraphs,
    section,
    table,
    text,
)
from kerasloss_search.report.pareto import pareto

__all__ = ["write_report"]

_PICTURES = ("ranking", "overlays", "curves", "weights", "history", "importance", "pareto")


def write_report(folder: Path) -> list[Path]:
    """Write `report.html` and `report/*.png` into the folder of a search.

    Parts that are not there, as in a search that was stopped, are missing in the report too,
    which says so. Every file appears as a whole or not at all.

    Args:
        folder: The search's folder, with `results.json` and, for the pictures of test images,
            `data.npz` and `finals/`.

    Returns:
        The files that were written, the page first.

    Raises:
        ValueError: There is no `results.json`, it is damaged, or another version wrote it.
    """
    finished = read_finished(folder)
    drawn: dict[str, Picture | str] = {
        "ranking": figures.ranking(finished),
        "curves": figures.curves(finished),
        "weights": figures.weights(finished),
        "history": figures.history(finished),
        "importance": figures.importance(finished),
        "pareto": pareto(finished),
    }
    data = read_data(folder)
    tests = overlays(finished, data)
    pictures = {name: one.png for name, one in drawn.items() if isinstance(one, Picture)}
    if isinstance(tests, Overlays):
        pictures["overlays"] = tests.png
    (folder / "report").mkdir(exist_ok=True)
    written = []
    for name in _PICTURES:
        path = folder / "report" / f"{name}.png"
        if name in pictures:
            _write(path, pictures[name])
            written.append(path)
        else:
            # A picture of an earlier report would pass for one of this.
            path.unlink(missing_ok=True)
    content = _page(finished, drawn, tests, data).encode("utf-8", "replace")
    _write(folder / "report.html", content)
    return [folder / "report.html", *written]


def _write(path: Path, content: bytes) -> None:
    # Who opens the file meanwhile must never find half of it.
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        unfinished.write_bytes(content)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _page(
    finished: Finished,
    drawn: dict[str, Picture | str],
    tests: Overlays | str,
    data: Dataset | str,
) -> str:
    parts: list[tuple[str, str, Html]] = [
        ("ranking", "Ranking", _ranking(finished, drawn["ranking"])),
        ("images", "Test images", _images(finished, tests)),
        ("curves", "Learning curves", figure(drawn["curves"])),
        ("weights", "Weights that move", figure(drawn["weights"])),
        ("history", "The search, trial by trial", _history(finished, drawn["history"])),
        ("importance", "Which parameters matter", figure(drawn["importance"])),
        ("front", "Compromises between scores", _front(finished, drawn["pareto"])),
        ("findings", "What else was noticed", _findings(finished)),
        ("provenance", "Where the numbers come from", _provenance(finished)),
    ]
    title = f"Search for a loss: {finished.folder.resolve().name}"
    links = joined((Html(f'<a href="#{name}">{text(head)}</a>') for name, head, _ in parts), " ")
    searched = [_searched(finished)]
    if isinstance(data, Dataset):
        first, *advice = data.summary().splitlines()
        searched.append(" ".join([f"Data: {first}.", *advice]))
    verdict = finished.verdict or (
        "There is no verdict yet: it takes the final trainings and their scores on test images.",
    )
    content = [
        Html(f"<header>\n<h1>{text(title)}</h1>\n{paragraphs(searched)}</header>"),
        Html(f'<div class="verdict">\n{paragraphs(verdict)}\n</div>'),
        Html(f'<nav aria-label="Parts of this page">{links}</nav>\n<main>'),
        *(section(*part) for part in parts),
        Html("</main>"),
    ]
    return page(title, joined(content))


def _searched(finished: Finished) -> str:
    """What was searched, in a sentence or three."""
    trials = finished.trials
    plain = sum(one.baseline is not None for one in trials)
    outcomes = Counter(one.outcome for one in trials)
    ended = ", ".join(f"{number} {outcome}" for outcome, number in outcomes.most_common())
    titles = " and ".join(one.heading for one in finished.scores)
    told = (
        f"{len(trials)} trials, {plain} of them plain losses to compare with"
        f"{f' ({ended})' if ended else ''}. "
    )
    if len(finished.scores) == 1:
        told += f"Trials were judged by {titles} on validation images."
    else:
        told += f"Trials were judged by {titles} on validation images; the first one decides."
    final = finished.winner
    if final is not None and finished.main.name in final.test:
        measured = final.test[finished.main.name]
        told += (
            f" {len(finished.finals)} losses were trained anew with {len(final.seeds)} "
            f"seed{'s' * (len(final.seeds) != 1)} and measured on {len(measured.per_image)} test "
            "images that had no say in the search."
        )
    return told


def _ranking(finished: Finished, picture: Picture | str) -> Html:
    if isinstance(picture, str):
        return joined([missing(picture), tables.preliminary(finished)])
    return joined([tables.ranking(finished), figure(picture), tables.comparisons(finished)])


def _images(finished: Finished, tests: Overlays | str) -> Html:
    if isinstance(tests, str):
        return missing(tests)
    score = finished.main
    rows = []
    for row in tests.rows:
        cells = [Html(f"<b>{text(row.place)}</b>{breakable(row.name)}")]
        for title, panel in zip(tests.titles, row.panels, strict=True):
            told = (
                f"{score.title} {score.written(panel.score)}" if panel.score == panel.score else ""
            )
            alt = f"{row.place} test image {row.name}, {title}{f', {told}' if told else ''}"
            cells.append(Html(f"{image(panel.png(), alt)}{text(told)}"))
        rows.append(cells)
    key = joined(
        Html(
            f'<li><span class="{one.look}" style="--colour: {one.colour}"></span>'
            f"{text(one.name)}</li>"
        )
        for one in key_of(tests.classes)
    )
    head = ("test image", *tests.titles)
    return joined(
        [
            Html(f'<ul class="key">{key}</ul>'),
            table(tests.caption, head, rows, kind="pictures"),
        ]
    )


def _history(finished: Finished, picture: Picture | str) -> Html:
    if not finished.trials:
        return figure(picture)
    return joined([figure(picture), tables.trials(finished)])


def _front(finished: Finished, picture: Picture | str) -> Html:
    if isinstance(picture, str):
        return figure(picture)
    return joined([figure(picture), tables.front(finished)])


def _findings(finished: Finished) -> Html:
    if not finished.findings:
        return missing("Nothing else was noted: findings are written when the search has ended.")
    return joined(
        [Html("<ul>"), *(Html(f"<li>{text(one)}</li>") for one in finished.findings), Html("</ul>")]
    )


def _provenance(finished: Finished) -> Html:
    entries = dict(finished.provenance)
    command = entries.pop("command", None)
    if not finished.provenance:
        return missing("The results do not tell where they come from.")
    parts = []
    if command is not None:
        parts += [
            Html("<p>To repeat the search:</p>"),
            Html(f"<pre><code>{text(command)}</code></pre>"),
        ]
    if entries:
        rows = [
            (text(name), Html(f"<code>{text(value)}</code>")) for name, value in entries.items()
        ]
        parts.append(table("Data, versions and seeds of this search.", ("what", "value"), rows))
    return joined(parts)
