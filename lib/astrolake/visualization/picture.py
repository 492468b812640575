"""What a picture is, how it is dressed and how it is saved."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

DPI = 160
WIDTH_IN = 6.4
_TITLE_CHARACTERS = 58

INK, MUTED, GRID = "#1b2430", "#5b6675", "#dfe4ea"
#: Okabe & Ito (2008): tell apart with any colour vision.
BLUE, ORANGE, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#8f3f97"
_BAND_STYLE = {
    "u": ("#3b5bdb", "v"),
    "g": (GREEN, "o"),
    "r": (ORANGE, "s"),
    "i": (PURPLE, "D"),
    "z": ("#4d4d4d", "^"),
    "y": ("#a67c00", "P"),
}


@dataclass(frozen=True, eq=False)
class Drawing:
    """A figure, the finding that it shows, and how to read it."""

    figure: Figure
    title: str
    caption: str


@dataclass(frozen=True)
class Picture:
    """A picture in a file, or the reason why there is none.

    Parameters
    ----------
    name : str
        Stem of the file.
    topic : str
        What the picture is about, in a few words.
    title : str
        The finding; empty without a picture.
    caption : str
        How to read it; empty without a picture.
    path : Path, optional
        The PNG file; None when the picture was skipped.
    skipped : str
        Why there is no picture.
    """

    name: str
    topic: str
    title: str = ""
    caption: str = ""
    path: Path | None = None
    skipped: str = ""


def save_picture(drawing: Drawing, name: str, topic: str, outdir: Path) -> Picture:
    """Write a drawing as ``<outdir>/<name>.png``; the same drawing gives the same bytes."""
    outdir.mkdir(parents=True, exist_ok=True)
    path = outdir / f"{name}.png"
    metadata = {"Title": drawing.title, "Description": drawing.caption, "Software": None}
    drawing.figure.savefig(path, dpi=DPI, facecolor="white", metadata=metadata)
    return Picture(name, topic, drawing.title, drawing.caption, path)


def new_figure(height_in: float, title: str) -> Figure:
    """Return a white figure of the standard width with its finding as headline."""
    layout = ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06)
    figure = Figure(figsize=(WIDTH_IN, height_in), layout=layout, facecolor="white")
    headline = textwrap.fill(title, _TITLE_CHARACTERS)
    figure.suptitle(headline, x=0.015, ha="left", fontsize=12, fontweight="bold", color=INK)
    return figure


def dress(axes: Axes, xlabel: str = "", ylabel: str = "", title: str = "") -> None:
    """Label a pair of axes in the common style."""
    axes.set_xlabel(xlabel, fontsize=10.5, color=INK)
    axes.set_ylabel(ylabel, fontsize=10.5, color=INK)
    if title:
        axes.set_title(title, fontsize=10.5, color=INK, loc="left")
    axes.tick_params(labelsize=9.5, colors=INK, which="both")
    axes.grid(True, color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_color(MUTED)
        spine.set_visible(side in ("left", "bottom"))


def add_legend(axes: Axes, place: Literal["upper left", "lower left"]) -> None:
    """Add a legend of the labelled artists, readable over data."""
    axes.legend(loc=place, fontsize=9.5, labelcolor=INK, framealpha=0.9, edgecolor="none", borderpad=0.3)


def band_style(band: str) -> tuple[str, str]:
    """Return the colour and the marker of a filter."""
    return _BAND_STYLE.get(band.lower(), (MUTED, "X"))


def counted(number: float, singular: str, plural: str = "") -> str:
    """Return a number and its noun: '1 image', '1,570 objects'."""
    noun = singular if round(number) == 1 else (plural or singular + "s")
    return f"{round(number):,} {noun}"
