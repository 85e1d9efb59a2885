"""Small drawings for a report that must open without a network: plain SVG, no scripts."""

from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["curve", "forest", "reliability_diagram", "roc_plot"]

SIZE = 260
MARGIN = 38
INK, QUIET, ACCENT = "#1f2933", "#9aa5b1", "#2f6f9f"

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
"""Told apart by colour-blind readers too (Okabe and Ito 2008); from the eighth line on they return dashed."""

DASHES = ("none", "6 3", "2 3")

LEGEND_LINES = 13
LEGEND_WIDTH = 190
LEGEND_LETTERS = 24


def reliability_diagram(bins: Sequence[tuple[int, float, float]]) -> str:
    """Share of right answers over confidence; the larger a dot, the more scans; on the diagonal both agree."""
    most = max((count for count, _, _ in bins), default=1)
    dots = [
        f'<circle cx="{_x(confidence):.1f}" cy="{_y(right):.1f}" r="{3 + 7 * (count / most) ** 0.5:.1f}" '
        f'fill="{ACCENT}" fill-opacity="0.7"><title>{count} scans: confidence {confidence:.2f}, right {right:.2f}'
        "</title></circle>"
        for count, confidence, right in bins
    ]
    return _framed([_diagonal(), *dots], "confidence", "share right", ("0", "0.5", "1"))


def roc_plot(curves: Sequence[tuple[str, str, Iterable[tuple[float, float]]]]) -> str:
    """ROC curves: (name, what the legend adds, points from (0, 0) to (1, 1)); chance is the diagonal."""
    parts = [_diagonal()]
    for number, (name, more, points) in enumerate(curves):
        colour, dashes = COLOURS[number % len(COLOURS)], DASHES[number // len(COLOURS) % len(DASHES)]
        stroke = f'stroke="{colour}" stroke-width="1.8" stroke-dasharray="{dashes}"'
        path = " ".join(f"{_x(x):.1f},{_y(y):.1f}" for x, y in points)
        parts.append(
            f'<polyline points="{path}" fill="none" {stroke}><title>{escape(f"{name} {more}")}</title></polyline>'
        )
        if number < LEGEND_LINES:
            y = MARGIN + 8 + 15 * number
            short = name if len(name) <= LEGEND_LETTERS else f"{name[: LEGEND_LETTERS - 1]}…"
            parts.append(f'<line x1="{SIZE - 26}" y1="{y}" x2="{SIZE - 4}" y2="{y}" {stroke}/>')
            parts.append(f'<text x="{SIZE + 2}" y="{y + 4}">{escape(f"{short} {more}")}</text>')
    if len(curves) > LEGEND_LINES:
        rest = f"and {len(curves) - LEGEND_LINES} more"
        parts.append(f'<text x="{SIZE + 2}" y="{MARGIN + 12 + 15 * LEGEND_LINES}">{rest}</text>')
    axes = ("false alarms", "share found", ("0", "0.5", "1"))
    return _framed(parts, *axes, beside=LEGEND_WIDTH)


def curve(points: Sequence[tuple[float, float, float, float]]) -> str:
    """A figure between 0 and 1 over a growing number, with its range: (number, value, low, high), evenly spaced."""
    if not points:
        return ""
    places = [(n + 0.5) / len(points) for n in range(len(points))]
    parts = [
        f'<line x1="{_x(x):.1f}" y1="{_y(low):.1f}" x2="{_x(x):.1f}" y2="{_y(high):.1f}" stroke="{QUIET}" '
        'stroke-width="2"/>'
        for x, (_, _, low, high) in zip(places, points, strict=True)
    ]
    path = " ".join(f"{_x(x):.1f},{_y(point[1]):.1f}" for x, point in zip(places, points, strict=True))
    parts.append(f'<polyline points="{path}" fill="none" stroke="{ACCENT}" stroke-width="2"/>')
    for x, (number, value, _, _) in zip(places, points, strict=True):
        parts.append(
            f'<circle cx="{_x(x):.1f}" cy="{_y(value):.1f}" r="4" fill="{ACCENT}">'
            f"<title>{number:g}: {value:.3f}</title></circle>"
        )
        parts.append(f'<text x="{_x(x):.1f}" y="{SIZE - MARGIN + 14}" text-anchor="middle">{number:g}</text>')
    return _framed(parts, "subjects learned from", "AUROC", ())


def forest(lines: Sequence[tuple[str, float, float, float, float | None]]) -> str:
    """Figures between 0 and 1 below one another: (name, value, low, high, baseline), the baseline as a tick."""
    height, left, width = 24, 170, 420
    parts = []
    for row, (name, value, low, high, baseline) in enumerate(lines):
        y = height * row + height / 2
        at = [left + width * min(max(number, 0.0), 1.0) for number in (value, low, high)]
        parts.append(f'<text x="{left - 10}" y="{y + 4}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<line x1="{left}" y1="{y}" x2="{left + width}" y2="{y}" stroke="#e4e7eb"/>')
        parts.append(f'<line x1="{at[1]:.1f}" y1="{y}" x2="{at[2]:.1f}" y2="{y}" stroke="{ACCENT}" stroke-width="3"/>')
        parts.append(f'<circle cx="{at[0]:.1f}" cy="{y}" r="5" fill="{ACCENT}"/>')
        if baseline is not None:
            x = left + width * min(max(baseline, 0.0), 1.0)
            parts.append(f'<line x1="{x:.1f}" y1="{y - 7}" x2="{x:.1f}" y2="{y + 7}" stroke="{INK}"/>')
    return _svg(left + width + 20, height * len(lines), parts)


def _diagonal() -> str:
    return f'<line x1="{_x(0)}" y1="{_y(0)}" x2="{_x(1)}" y2="{_y(1)}" stroke="{QUIET}" stroke-dasharray="4 4"/>'


def _framed(parts: Sequence[str], across: str, up: str, ticks: Sequence[str], *, beside: float = 0) -> str:
    inner = SIZE - 2 * MARGIN
    frame = [f'<rect x="{MARGIN}" y="{MARGIN}" width="{inner}" height="{inner}" fill="none" stroke="#cbd2d9"/>']
    for number, text in ((0, "0"), (0.5, "0.5"), (1, "1")):
        frame.append(f'<text x="{MARGIN - 6}" y="{_y(number) + 4:.1f}" text-anchor="end">{text}</text>')
    for number, text in zip((0, 0.5, 1), ticks, strict=False):
        frame.append(f'<text x="{_x(number):.1f}" y="{SIZE - MARGIN + 14}" text-anchor="middle">{text}</text>')
    frame.append(f'<text x="{SIZE / 2}" y="{SIZE - 6}" text-anchor="middle">{escape(across)}</text>')
    frame.append(f'<text x="{MARGIN}" y="{MARGIN - 10}">{escape(up)}</text>')
    return _svg(SIZE + beside, SIZE, [*frame, *parts])


def _x(share: float) -> float:
    return MARGIN + (SIZE - 2 * MARGIN) * share


def _y(share: float) -> float:
    return SIZE - MARGIN - (SIZE - 2 * MARGIN) * share


def _svg(width: float, height: float, parts: Sequence[str]) -> str:
    head = f'<svg role="img" viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" '
    return f'{head}font-size="11" fill="{INK}">{"".join(parts)}</svg>'
