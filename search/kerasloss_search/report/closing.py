"""The table that the user sees in the end."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from kerasloss_search.comparison import interval, p_is
from kerasloss_search.judgement import Judgement
from kerasloss_search.scores import Score

__all__ = ["closing_table"]


def closing_table(judgement: Judgement, groups: Sequence[str], score: Score) -> Table:
    """All losses of the final stage: validation and test, means over the fresh seeds."""
    seeds = len(next(iter(judgement.finals.values())))
    table = Table(
        title=f"{score.title}, means over {seeds} fresh {'seed' if seeds == 1 else 'seeds'}; "
        "bold: best on validation",
        title_justify="left",
    )
    table.add_column("loss")
    for name in ("trial", "validation", "test", "95 % interval", "p"):
        table.add_column(name, justify="right", no_wrap=True)
    p = {pair.record.number: pair.p for pair in judgement.pairs if pair.score.name == score.name}
    for record in sorted(judgement.records, key=lambda r: -score.sign * judgement.validation(r)):
        mean, low, high = interval(judgement.test(record, score.name), groups)
        searched = f"searched: {record.recipe.label}, rate {record.recipe.learning_rate:.1e}"
        table.add_row(
            record.baseline or searched,
            str(record.number),
            f"{judgement.validation(record):.4f}",
            f"{mean:.4f}",
            f"{low:.3f} to {high:.3f}",
            p_is(p[record.number]).removeprefix("p ").removeprefix("= ")
            if record.number in p
            else "",
            style="bold" if record is judgement.best else None,
        )
    if p and judgement.plain is not None:
        count = len(judgement.pairs)
        corrected = f", corrected for {count} comparisons" if count > 1 else ""
        table.caption = f"p: against {judgement.plain.baseline}{corrected}"
        table.caption_justify = "left"
    return table
