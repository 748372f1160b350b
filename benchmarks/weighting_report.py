"""Writes what `benchmarks/weighting.py` has found into the documentation: a page and two pictures.

python benchmarks/weighting_report.py rows.json     the curves of the first set in it alone
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

Rows = list[dict[str, Any]]
BASE = "Static"
INTRODUCTION = """# Do moving weights help?

Written by `python benchmarks/weighting.py`. Three losses (cross-entropy, Dice, focal) with
equal weights that stay, against every strategy with its usual options: the same small U-Net
(width {width}, {size} px), the same batches and starts, {steps} steps of Adam at {rate},
{seeds} seeds, Dice of every test image after the last epoch. Differences are paired by image
and seed. The interval is that of the mean over the seeds (95 %, Student); p is Wilcoxon's over
the images, each the mean of its seeds, corrected for all comparisons of the page (Holm).
*Better* and *worse* are said only where p < 0.05 and the interval leaves out 0. Tiles of one
micrograph count as images of their own, which makes p too small rather than too large. A run has
failed whose mean Dice is below a fifth of that with equal weights.

Of {count} comparisons, {better} are better and {worse} worse than equal weights that stay; in the
others no difference was shown.

![Difference in Dice to equal weights that stay](images/weighting_study.png)

"""


def report(rows: Rows, settings: dict[str, Any], docs: Path) -> None:
    """Writes the study of all real sets, and the curves of the synthetic one."""
    synthetic = [row for row in rows if row["set"] == "synthetic"]
    real = [row for row in rows if row["set"] != "synthetic"]
    if synthetic:
        curves(synthetic, docs / "images" / "weighting_curves.png")
    if real:
        (docs / "weighting_study.md").write_text(page(real, settings), encoding="utf-8")
        differences(real, docs / "images" / "weighting_study.png")


def page(rows: Rows, settings: dict[str, Any]) -> str:
    """The study in Markdown."""
    sets, found = _sets(rows), comparisons(rows)
    seeds = len({row["seed"] for row in rows})
    better = [c for c in found if c["verdict"] == "better"]
    worse = [c for c in found if c["verdict"] == "worse"]
    text = INTRODUCTION.format(
        **settings, seeds=seeds, count=len(found), better=len(better), worse=len(worse)
    )
    lines = text.splitlines()
    for name in sets:
        scores = _scores(rows, name, BASE)
        lines += [
            f"## {name}",
            "",
            f"{scores.shape[1]} test images; equal weights that stay: Dice {scores.mean():.4f}.",
            "",
            "| strategy | Dice | difference | 95 % interval | p | |",
            "|---|---:|---:|---:|---:|---|",
        ]
        for entry in (entry for entry in found if entry["set"] == name):
            lines.append(
                f"| {entry['strategy']} | {entry['mean']:.4f} | {entry['difference']:+.4f} | "
                f"{entry['low']:+.4f} to {entry['high']:+.4f} | {entry['p']:.3f} | "
                f"{_remark(entry, len(scores))} |"
            )
        lines.append("")
    return "\n".join(lines)


def _remark(entry: dict[str, Any], runs: int) -> str:
    failed = f"{entry['failed']} of {runs} runs failed" if entry["failed"] else ""
    return ", ".join(part for part in (entry["verdict"], failed) if part)


def comparisons(rows: Rows) -> list[dict[str, Any]]:
    """Every strategy against the base on every set, with corrected p-values."""
    found = []
    for name in _sets(rows):
        base = _scores(rows, name, BASE)
        for strategy in dict.fromkeys(row["strategy"] for row in rows if row["set"] == name):
            if strategy == BASE:
                continue
            ours = _scores(rows, name, strategy)
            change = ours - base
            by_seed, by_image = change.mean(axis=1), change.mean(axis=0)
            margin = stats.t.ppf(0.975, len(by_seed) - 1) * stats.sem(by_seed)
            p = stats.wilcoxon(by_image).pvalue if np.any(by_image) else 1.0
            entry = {"set": name, "strategy": strategy, "mean": ours.mean(), "p": float(p)}
            mean = by_seed.mean()
            entry |= {"difference": mean, "low": mean - margin, "high": mean + margin}
            entry["failed"] = int((ours.mean(axis=1) < base.mean() / 5).sum())
            found.append(entry)
    _holm(found)
    for entry in found:
        sure = entry["p"] < 0.05 and entry["low"] * entry["high"] > 0
        entry["verdict"] = ("better" if entry["difference"] > 0 else "worse") if sure else ""
    return found


def _holm(found: list[dict[str, Any]]) -> None:
    """Holm's correction of the p-values, in place."""
    largest = 0.0
    for rank, entry in enumerate(sorted(found, key=lambda entry: float(entry["p"]))):
        largest = max(largest, min(1.0, entry["p"] * (len(found) - rank)))
        entry["p"] = largest


def differences(rows: Rows, path: Path) -> None:
    """One panel a set: the mean difference of every strategy and its interval."""
    import matplotlib.pyplot as plt

    found, sets = comparisons(rows), _sets(rows)
    figure, axes = plt.subplots(
        1, len(sets), figsize=(2.5 + 3.2 * len(sets), 4.2), sharey=True, layout="constrained"
    )
    for axis, name in zip(np.atleast_1d(axes), sets, strict=True):
        entries = [entry for entry in found if entry["set"] == name][::-1]
        for place, entry in enumerate(entries):
            color = {"better": "#2a7f62", "worse": "#b5482f", "": "#777777"}[entry["verdict"]]
            axis.plot([entry["low"], entry["high"]], [place, place], color=color)
            axis.plot(entry["difference"], place, "o", color=color)
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set_yticks(range(len(entries)), [entry["strategy"] for entry in entries])
        axis.set_title(name)
        axis.set_xlabel("difference in Dice")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def curves(rows: Rows, path: Path) -> None:
    """One panel a strategy: the share of every term in the weights, the mean over the seeds."""
    import matplotlib.pyplot as plt

    names = list(dict.fromkeys(row["strategy"] for row in rows))
    figure, axes = plt.subplots(
        -(-len(names) // 4), 4, figsize=(12, 7), sharex=True, squeeze=False, layout="constrained"
    )
    for axis in axes.flat[len(names) :]:
        axis.set_visible(False)
    for axis, name in zip(axes.flat, names, strict=False):
        runs = [row["weights"] for row in rows if row["strategy"] == name]
        for term in runs[0]:
            values = np.mean([run[term] for run in runs], axis=0)
            axis.plot(np.arange(1, len(values) + 1), values, label=term)
        axis.set_title(name, fontsize=10)
        axis.set_ylim(bottom=0)
    for axis in axes[-1]:
        axis.set_xlabel("epoch")
    for row in axes:
        row[0].set_ylabel("weight")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _sets(rows: Rows) -> list[str]:
    return list(dict.fromkeys(row["set"] for row in rows))


def _scores(rows: Rows, name: str, strategy: str) -> np.ndarray[Any, Any]:
    """Dice, shape `(seeds, images)`."""
    wanted = [row for row in rows if (row["set"], row["strategy"]) == (name, strategy)]
    return np.array([row["scores"] for row in sorted(wanted, key=lambda row: int(row["seed"]))])


if __name__ == "__main__":
    everything = [row for name in sys.argv[1:] for row in json.loads(Path(name).read_text())]
    curves(everything, Path(__file__).parent.parent / "docs" / "images" / "weighting_curves.png")
