"""How pictures look, and how one drawing becomes a PNG and an SVG that follows the page's theme."""

from __future__ import annotations

import io
import re
import textwrap
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "DASHES",
    "FAINT",
    "INK",
    "MUTED",
    "OKABE_ITO",
    "PAPER",
    "Picture",
    "drawn",
    "sheet",
    "wrapped",
]

INK, MUTED, FAINT, GRID, PAPER = "#1b1b1f", "#63636e", "#c4c4cc", "#e4e4e9", "#ffffff"

# Told apart by everyone, in print too; yellow is left out, it is too light for a line on paper.
OKABE_ITO = {
    "blue": "#0072b2",
    "vermilion": "#d55e00",
    "green": "#009e73",
    "purple": "#cc79a7",
    "sky": "#56b4e9",
    "orange": "#e69f00",
}
DASHES: tuple[str | tuple[int, tuple[int, ...]], ...] = ("-", (0, (5, 2)), (0, (1, 1)))
"""Line styles for those who see or print no colours, and for more lines than colours."""

_VARIABLES = {
    INK: "currentColor",
    MUTED: "var(--muted)",
    FAINT: "var(--faint)",
    GRID: "var(--grid)",
    PAPER: "var(--paper)",
    **{value: f"var(--{name})" for name, value in OKABE_ITO.items()},
}

_STYLE = {
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.labelsize": 9.0,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.axisbelow": True,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "axes.grid": True,
    "figure.facecolor": PAPER,
    "axes.facecolor": "none",
    # A dollar in a name is a dollar.
    "text.parse_math": False,
    # Real text: sharp, small, found by the browser's search, and in the page's own letters.
    "svg.fonttype": "none",
}


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawing in both forms; `alt` says what it shows to those who cannot see it."""

    name: str
    svg: str
    png: bytes
    alt: str
    caption: str


def drawn(
    name: str,
    draw: Callable[[Figure], None],
    *,
    size: tuple[float, float],
    alt: str,
    caption: str,
) -> Picture:
    """Draw a figure and keep it as PNG, for paper, and as SVG, for the page."""
    with _figure(draw, size, 160, name) as figure:
        png, svg = _png(figure), _svg(figure)
    return Picture(name, _themed(svg, name, alt), png, alt, caption)


def sheet(draw: Callable[[Figure], None], *, size: tuple[float, float]) -> bytes:
    """Draw a figure that is full of pictures, as PNG."""
    with _figure(draw, size, 130, "sheet") as figure:
        return _png(figure)


@contextmanager
def _figure(
    draw: Callable[[Figure], None], size: tuple[float, float], dpi: int, name: str
) -> Iterator[Figure]:
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    settings: Any = {**_STYLE, "svg.hashsalt": name}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        # Names may hold letters that the font has not; the page shows them all the same.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        # Without pyplot: no global state, no window system.
        figure = Figure(figsize=size, dpi=dpi, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
        # Places are found once, not again for each file.
        engine = figure.get_layout_engine()
        if engine is not None:
            engine.execute(figure)
        figure.set_layout_engine("none")
        yield figure


def _png(figure: Figure) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    file = io.BytesIO()
    # `savefig` would draw everything twice, to learn what it need not know here.
    canvas: Any = FigureCanvasAgg(figure)
    canvas.print_png(file, metadata={"Software": None})
    return file.getvalue()


def _svg(figure: Figure) -> bytes:
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    # The page's own background is seen through.
    figure.patch.set_visible(False)
    file = io.BytesIO()
    canvas: Any = FigureCanvasSVG(figure)
    canvas.print_svg(file, metadata={"Date": None})
    return file.getvalue()


def wrapped(text: str, width: int, lines: int | None = None) -> str:
    """The text in lines of at most `width` letters; what does not fit into `lines` is left out."""
    return "\n".join(
        textwrap.wrap(text, width, max_lines=lines, placeholder=" …", break_on_hyphens=False)
    )


def _themed(svg: bytes, name: str, alt: str) -> str:
    """An `<svg>` element for an HTML page: colours by variables, ids of its own, no links."""
    root = ET.fromstring(svg)
    for parent in list(root.iter()):
        for child in list(parent):
            # A <style> would count for the whole page; the metadata only point elsewhere.
            if _local(child.tag) in ("metadata", "style"):
                parent.remove(child)
    for element in root.iter():
        element.tag = _local(element.tag)
        for key in list(element.attrib):
            value = element.attrib.pop(key)
            element.attrib[_local(key)] = _attribute(_local(key), value, name)
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.attrib |= {"role": "img", "aria-label": alt}
    return ET.tostring(root, encoding="unicode")


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _attribute(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    if key == "href":
        return value.replace("#", f"#{name}-", 1)
    if key == "clip-path":
        return value.replace("url(#", f"url(#{name}-", 1)
    if key == "style":
        value = re.sub(r"#[0-9a-f]{6}", lambda match: _VARIABLES.get(match[0], match[0]), value)
        return f"{value}; font-family: inherit" if "font:" in value else value
    if key in ("d", "x", "y"):
        # Six digits behind the point double the page and move nothing.
        return re.sub(r"-?\d+\.\d{3,}(?!e)", lambda match: f"{float(match[0]):.2f}", value)
    return value
