"""The picture of a run: drain rates as bars with their extremes, one panel free, one pinned."""

from __future__ import annotations

from xml.sax.saxutils import escape

from bench.contenders import AT_LEAST_ONCE, CONTENDERS, Contender
from bench.figures import Spread
from bench.goals import Results
from bench.runner import Run

WIDTH, LABEL, VALUE = 860, 130, 200
ROW, BAR, PANEL = 22, 14, 40
COLOURS = {"ours": "#1f6feb", "raw": "#8b949e", "durable": "#2da44e", "other": "#bf8700"}
LEGEND = {
    "ours": "Ferryman",
    "durable": "runs a job again whose worker died",
    "other": "does not",
    "raw": "bare redis-py loop, no recovery",
}
PANELS = (("drain", "Drain, no-op jobs per second, free"),
          ("pinned", "The same, everything pinned to one core"))  # fmt: skip

Bars = list[tuple[Contender, Spread]]


def render(run: Run) -> str:
    """An SVG that reads on light and dark pages."""
    results = Results(run.samples)
    parts, top = [_legend(24)], 50
    for task, title in PANELS:
        bars = _bars(results, task)
        if bars:
            parts.append(_panel(title, bars, top))
            top += PANEL + ROW * len(bars) + 10
    foot = f"{run.head['date']}, {run.head['cores']} cores, {run.head['server']}; median, min-max"
    foot += "; other work was running" if run.busy else ""
    parts.append(_text(10, top + 14, foot, "small"))
    return _frame(top + 26, parts)


def _bars(results: Results, task: str) -> Bars:
    found = [(c, s) for c in CONTENDERS if (s := results.spread(task, c.name, "jobs_per_s"))]
    return sorted(found, key=lambda bar: -bar[1].median)


def _panel(title: str, bars: Bars, top: int) -> str:
    scale = (WIDTH - LABEL - VALUE) / max(s.high for _, s in bars)
    rows = [_text(10, top + 16, title, "title")]
    for number, (contender, found) in enumerate(bars):
        rows.append(_bar(contender, found, top + PANEL - 12 + ROW * number, scale))
    return "\n".join(rows)


def _bar(contender: Contender, found: Spread, y: int, scale: float) -> str:
    low, high = LABEL + found.low * scale, LABEL + found.high * scale
    middle, width = y + BAR / 2, max(1.0, found.median * scale)
    return "\n".join([
        _text(LABEL - 8, y + 11, contender.name, "label"),
        f'<rect x="{LABEL}" y="{y}" width="{width:.1f}" height="{BAR}" '
        f'fill="{_colour(contender)}"/>',
        f'<path d="M{low:.1f} {middle}H{high:.1f}" class="whisker"/>',
        _text(high + 8, y + 11, found.text()),
    ])  # fmt: skip


def _colour(contender: Contender) -> str:
    if contender.kind in COLOURS:
        return COLOURS[contender.kind]
    return COLOURS["durable" if contender.promise == AT_LEAST_ONCE else "other"]


def _legend(y: int) -> str:
    parts, x = [], 10
    for kind, words in LEGEND.items():
        parts.append(f'<rect x="{x}" y="{y - 10}" width="12" height="12" fill="{COLOURS[kind]}"/>')
        parts.append(_text(x + 18, y, words))
        x += 34 + 7 * len(words)
    return "\n".join(parts)


def _text(x: float, y: float, words: str, name: str = "value") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" class="{name}">{escape(words)}</text>'


def _frame(height: int, parts: list[str]) -> str:
    style = (
        "text{font:12px system-ui,sans-serif;fill:#57606a}.title{font-weight:600;font-size:14px}"
        ".label{text-anchor:end}.small{font-size:11px}"
        ".whisker{stroke:#24292f;stroke-width:1.5;opacity:.6}"
        "@media(prefers-color-scheme:dark){text{fill:#9da7b3}.whisker{stroke:#e6edf3}}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="Drain rates">\n<style>{style}</style>\n' + "\n".join(parts) + "\n</svg>\n"
    )
