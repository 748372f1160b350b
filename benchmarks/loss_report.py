"""Writes what `benchmarks/losses.py` has measured into the documentation: a page and a picture.

python benchmarks/loss_report.py jax.json torch.json     from files that `--json` has written
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

LIBRARIES = ("Keras", "medicai", "MONAI", "MONAI, channels last", "smp")
NOISE = 1.05
REASONS = """
Why:

- **PyTorch, several classes.** MONAI gets channels first, its own layout. A Keras model hands out
  channels last; a softmax over a last axis of two or four is slow, so ours copies the logits to
  channels first, and their gradient back. *MONAI, channels last* is MONAI with what a Keras model
  hands out.
- **PyTorch, one channel.** Each operation is a pass over memory. Ours first looks whether the mask
  holds 0 and 1 alone (column *integers*: it need not look), and counts every image by itself.
- **TensorFlow, four classes.** Keras's own cross-entropy is one fused kernel there, and a mask of
  floats may be soft, so every class needs its logarithm (column *integers*: only the true one).
- **Other definitions.** smp and MONAI pool over the batch or leave the background out where ours
  counts each image and each class.
- **Lovasz** sorts the pixels of every image and class, which is most of its time on every backend.
"""
TITLES = {"jax": "JAX", "tensorflow": "TensorFlow (XLA)", "torch": "PyTorch"}


def write(rows: list[dict[str, Any]], folder: Path) -> None:
    """Writes `benchmarks.md` and `images/loss_speed.png`."""
    (folder / "images").mkdir(exist_ok=True)
    picture(rows, folder / "images" / "loss_speed.png")
    (folder / "benchmarks.md").write_text(page(rows))


def page(rows: list[dict[str, Any]]) -> str:
    """The page as Markdown."""
    versions = ", ".join(
        f"{name} {_version(name)}"
        for name in ("keras", "jax", "tensorflow", "torch", "monai", "medicai")
        if _version(name)
    )
    parts = [
        "# Benchmarks\n",
        "Written by `python benchmarks/losses.py`. Forward and backward of one call, medians of "
        "calls in turns, compiled where the backend compiles. Targets are floats, as the other "
        "libraries want them; *integers* is our time with masks of that dtype, where that saves "
        "work. *CE* is the time as a multiple of "
        "Keras's own cross-entropy in the same run; for each other library, `x` is our time as a "
        "multiple of its time (below 1: we are faster), and *memory* the same for the growth of "
        "the resident set at its largest. A value in brackets says that both define the same "
        "number and by how much they differ, relatively; without one the definitions differ "
        "(pooling, smoothing).\n",
        f"Measured on {os.cpu_count()} cores of {_processor()}, without a GPU; {versions}.\n",
        "![Time of every loss as a multiple of Keras's cross-entropy](images/loss_speed.png)\n",
    ]
    parts.append(summary(rows))
    for backend in dict.fromkeys(row["backend"] for row in rows):
        parts.append(f"## {TITLES[backend]}\n")
        for shape in dict.fromkeys(row["shape"] for row in rows):
            chosen = [r for r in rows if (r["backend"], r["shape"]) == (backend, shape)]
            parts += [f"### {shape}\n", table(chosen)]
    return "\n".join(parts)


def summary(rows: list[dict[str, Any]]) -> str:
    """How often another library is faster, and where."""
    slower, compared = [], 0
    for row in rows:
        others = {name: s for name, s in row["seconds"].items() if name in LIBRARIES}
        if not others:
            continue
        compared += 1
        fastest = min(others, key=lambda name: others[name])
        ratio = row["seconds"]["kerasloss"] / others[fastest]
        if ratio > NOISE:
            slower.append((row["backend"], row["loss"], row["shape"], ratio, fastest))
    lines = [
        f"Of {compared} comparisons with the fastest other library that has the loss, ours wins "
        f"or ties (within {100 * (NOISE - 1):.0f} %) {compared - len(slower)}. The others:\n",
        "| backend | loss | shape | our time | than |",
        "|---|---|---|---:|---|",
    ]
    lines += [
        f"| {TITLES[backend]} | {loss} | {shape} | {ratio:.2f} x | {library} |"
        for backend, loss, shape, ratio, library in slower
    ]
    return "\n".join(lines) + "\n" + REASONS


def table(rows: list[dict[str, Any]]) -> str:
    """One row a loss, one column a library that any of them was compared with."""
    libraries = [name for name in LIBRARIES if any(name in row["seconds"] for row in rows)]
    head = ["loss", "ms", "integers", "MB", "CE", *libraries]
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    for row in rows:
        ours, memory = row["seconds"]["kerasloss"], row["memory"]["kerasloss"]
        cells = [
            row["loss"],
            f"{1000 * ours:.1f}",
            f"{1000 * row['seconds']['integers']:.1f}" if "integers" in row["seconds"] else "",
            f"{memory / 1e6:.0f}",
            f"{ours / row['seconds']['baseline']:.2f}",
        ]
        cells += [_cell(row, library) for library in libraries]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(row: dict[str, Any], library: str) -> str:
    if library not in row["seconds"]:
        return "fails" if library in row["failed"] else ""
    text = f"{row['seconds']['kerasloss'] / row['seconds'][library]:.2f} x"
    ours, theirs = row["memory"]["kerasloss"], row["memory"][library]
    if min(ours, theirs) > 1e6:  # below a megabyte it is noise
        text += f", memory {ours / theirs:.2f} x"
    if library in row.get("off", {}):
        text += f" ({row['off'][library]:.0e})"
    return text


def picture(rows: list[dict[str, Any]], path: Path) -> None:
    """Time of ours and of the peers as multiples of Keras's cross-entropy; 2D, one channel."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    shape = rows[0]["shape"]
    backends = list(dict.fromkeys(row["backend"] for row in rows if row["shape"] == shape))
    names = list(dict.fromkeys(row["loss"] for row in rows if row["shape"] == shape))
    figure, panels = plt.subplots(
        1,
        len(backends),
        figsize=(4.2 * len(backends), 0.34 * len(names) + 1.4),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    marks = dict(zip(LIBRARIES, ("s", "^", "D", "o", "v"), strict=True))
    for panel, backend in zip(panels[0], backends, strict=True):
        for row in rows:
            if (row["backend"], row["shape"]) != (backend, shape):
                continue
            height = len(names) - names.index(row["loss"])
            base = row["seconds"]["baseline"]
            panel.barh(height, row["seconds"]["kerasloss"] / base, color="#7aa6c2", height=0.7)
            for library, mark in marks.items():
                if library in row["seconds"]:
                    panel.plot(
                        row["seconds"][library] / base, height, mark, color="#b5482f", ms=4.5
                    )
        panel.axvline(1.0, color="black", lw=0.8)
        panel.set_xscale("log")
        panel.set_title(TITLES[backend])
        panel.set_xlabel("time, multiples of Keras's cross-entropy")
        panel.set_ylim(0.3, len(names) + 0.7)
        panel.set_yticks(range(len(names), 0, -1), names)
    handles = [
        plt.Line2D([], [], ls="", marker=mark, color="#b5482f", label=library)
        for library, mark in marks.items()
        if any(library in row["seconds"] for row in rows)
    ]
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8)
    figure.savefig(path, dpi=130)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "an unknown processor"


if __name__ == "__main__":
    found = [row for path in sys.argv[1:] for row in json.loads(Path(path).read_text())]
    # What was measured again replaces what was before it.
    latest = {(row["backend"], row["shape"], row["loss"]): row for row in found}
    write(list(latest.values()), Path(__file__).parents[1] / "docs")
