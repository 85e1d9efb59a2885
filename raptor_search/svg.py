"""Small drawings for a report that must open without a network: plain SVG, no scripts."""

from collections.abc import Sequence
from html import escape

__all__ = ["curve", "forest", "reliability_diagram"]

SIZE = 260
MARGIN = 38
INK, QUIET, ACCENT = "#1f2933", "#9aa5b1", "#2f6f9f"


def reliability_diagram(bins: Sequence[tuple[int, float, float]]) -> str:
    """Share of right answers over confidence; the larger a dot, the more scans; on the diagonal both agree."""
    most = max((count for count, _, _ in bins), default=1)
    dots = [
        f'<circle cx="{_x(confidence):.1f}" cy="{_y(right):.1f}" r="{3 + 7 * (count / most) ** 0.5:.1f}" '
        f'fill="{ACCENT}" fill-opacity="0.7"><title>{count} scans: confidence {confidence:.2f}, right {right:.2f}'
        "</title></circle>"
        for count, confidence, right in bins
    ]
    diagonal = f'<line x1="{_x(0)}" y1="{_y(0)}" x2="{_x(1)}" y2="{_y(1)}" stroke="{QUIET}" stroke-dasharray="4 4"/>'
    return _framed([diagonal, *dots], "confidence", "share right", ("0", "0.5", "1"))


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


def _framed(parts: Sequence[str], across: str, up: str, ticks: Sequence[str]) -> str:
    inner = SIZE - 2 * MARGIN
    frame = [f'<rect x="{MARGIN}" y="{MARGIN}" width="{inner}" height="{inner}" fill="none" stroke="#cbd2d9"/>']
    for number, text in ((0, "0"), (0.5, "0.5"), (1, "1")):
        frame.append(f'<text x="{MARGIN - 6}" y="{_y(number) + 4:.1f}" text-anchor="end">{text}</text>')
    for number, text in zip((0, 0.5, 1), ticks, strict=False):
        frame.append(f'<text x="{_x(number):.1f}" y="{SIZE - MARGIN + 14}" text-anchor="middle">{text}</text>')
    frame.append(f'<text x="{SIZE / 2}" y="{SIZE - 6}" text-anchor="middle">{escape(across)}</text>')
    frame.append(f'<text x="{MARGIN}" y="{MARGIN - 10}">{escape(up)}</text>')
    return _svg(SIZE, SIZE, [*frame, *parts])


def _x(share: float) -> float:
    return MARGIN + (SIZE - 2 * MARGIN) * share


def _y(share: float) -> float:
    return SIZE - MARGIN - (SIZE - 2 * MARGIN) * share


def _svg(width: float, height: float, parts: Sequence[str]) -> str:
    head = f'<svg role="img" viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" '
    return f'{head}font-size="11" fill="{INK}">{"".join(parts)}</svg>'
