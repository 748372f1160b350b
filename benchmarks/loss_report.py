"""Writes what `benchmarks/losses.py` has measured into the documentation: a page and a picture."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

LIBRARIES = ("Keras", "medicai", "MONAI", "MONAI, channels last", "smp")
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
    for backend in dict.fromkeys(row["backend"] for row in rows):
        parts.append(f"## {TITLES[backend]}\n")
        for shape in dict.fromkeys(row["shape"] for row in rows):
            chosen = [r for r in rows if (r["backend"], r["shape"]) == (backend, shape)]
            parts += [f"### {shape}\n", table(chosen)]
    return "\n".join(parts)


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
    backends = list(dict.fromkeys(row["backend"] for row in rows))
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
        panel.set_yticks(range(len(names), 0, -1), names)
    handles = [
        plt.Line2D([], [], ls="", marker=mark, color="#b5482f", label=library)
        for library, mark in marks.items()
        if any(library in row["seconds"] for row in rows)
    ]
    if handles:
        panels[0][-1].legend(handles=handles, loc="lower right", fontsize=8)
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
