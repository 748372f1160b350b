"""The pieces that an HTML page is put together from; text becomes HTML here and nowhere else."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import NewType

from kerasloss_search.report.drawing import Picture

__all__ = [
    "Html",
    "figure",
    "folded",
    "image",
    "joined",
    "missing",
    "breakable",
    "page",
    "paragraphs",
    "section",
    "table",
    "text",
]

Html = NewType("Html", str)
"""Text that is safe on a page: nothing from a study becomes it but by `text`."""


def text(value: object) -> Html:
    """Any text, with the letters that mean something in HTML escaped."""
    return Html(html.escape(str(value)))


def breakable(value: str) -> Html:
    """A name, which may be broken where its words end: some are wider than their column."""
    return Html(text(value).replace("_", "_<wbr>").replace("/", "/<wbr>"))


def joined(parts: Iterable[Html], between: str = "\n") -> Html:
    """One piece of many."""
    return Html(between.join(parts))


def paragraphs(sentences: Iterable[str]) -> Html:
    """Each sentence as a paragraph."""
    return joined(Html(f"<p>{text(one)}</p>") for one in sentences)


def missing(reason: str) -> Html:
    """A part that is not there, in words."""
    return Html(f'<p class="missing">{text(reason)}</p>')


def section(anchor: str, title: str, content: Html) -> Html:
    """A part of the page that links can point to."""
    return Html(
        f'<section id="{text(anchor)}" aria-labelledby="{text(anchor)}-title">\n'
        f'<h2 id="{text(anchor)}-title">{text(title)}</h2>\n{content}\n</section>'
    )


def figure(picture: Picture | str) -> Html:
    """A drawing with its caption, or the reason why there is none."""
    if isinstance(picture, str):
        return missing(picture)
    return Html(
        f'<figure><div class="scroll">{picture.svg}</div>'
        f"<figcaption>{text(picture.caption)}</figcaption></figure>"
    )


def folded(summary: str, content: Html) -> Html:
    """Something long, which is only shown when asked for."""
    return Html(f"<details><summary>{text(summary)}</summary>\n{content}\n</details>")


def image(png: bytes, alt: str) -> Html:
    """A picture inside the page."""
    data = base64.b64encode(png).decode("ascii")
    return Html(f'<img src="data:image/png;base64,{data}" alt="{text(alt)}">')


def table(
    caption: str,
    head: Sequence[str],
    rows: Iterable[Sequence[Html]],
    *,
    numbers: Sequence[int] = (),
    best: int | None = None,
    kind: str = "",
) -> Html:
    """A table whose first column names the rows.

    Args:
        caption: what the table shows.
        head: titles of the columns.
        rows: cells, as many as `head` has.
        numbers: columns of numbers, which are set to the right.
        best: the row that stands out.
        kind: class of the element around it.
    """
    aligned = [' class="number"' if place in numbers else "" for place in range(len(head))]
    titles = "".join(
        f'<th scope="col"{side}>{text(title)}</th>'
        for title, side in zip(head, aligned, strict=True)
    )
    lines = []
    for number, row in enumerate(rows):
        cells = [
            f'<th scope="row"{side}>{cell}</th>' if place == 0 else f"<td{side}>{cell}</td>"
            for place, (cell, side) in enumerate(zip(row, aligned, strict=True))
        ]
        stands_out = ' class="best"' if number == best else ""
        lines.append(f"<tr{stands_out}>{''.join(cells)}</tr>")
    return Html(
        f'<div class="scroll {text(kind)}"><table>\n<caption>{text(caption)}</caption>\n'
        f"<thead><tr>{titles}</tr></thead>\n<tbody>\n"
        + "\n".join(lines)
        + "\n</tbody></table></div>"
    )


def page(title: str, content: Html) -> str:
    """The whole document, which needs nothing from outside."""
    style = files("kerasloss_search.report").joinpath("page.css").read_text(encoding="utf-8")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        # Whatever got in by mistake, the browser would neither fetch nor run it.
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n"
        f"<title>{text(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n{content}\n"
        "</body>\n</html>\n"
    )
