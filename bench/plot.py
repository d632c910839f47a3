#!/usr/bin/env python3
"""Draws the report of run_peers.py as SVG: plot.py REPORT.json FOLDER. Needs nothing beyond Python.

Bars show the time of a row, of every store that can do it, the shortest on top; a dashed line is the bare limit where there
is one. The scale is logarithmic where the longest is more than thirty times the shortest.
"""

import json
import math
import pathlib
import sys
from xml.sax.saxutils import escape

# file: (title, [(row, what)])
PLOTS = {
    "writes": ("Writing, 1 M records of 24 + 150 bytes: milliseconds, less is better", [
        ("bulk_load", "bulk load"), ("durable_writes", "1,000 durable writes"), ("durable_batches", "100 durable batches of 1,000"),
        ("unsynced_writes", "50,000 writes without sync"), ("removals", "removal of half")]),
    "reads": ("Reading, 1 M records of 24 + 150 bytes: milliseconds, less is better", [
        ("hits", "1 M random reads, hits"), ("misses", "1 M random reads, misses"), ("readers_8", "1.15 M reads by 8 threads, 2 processors"),
        ("scans_loaded", "500,000 scans of 10, as loaded"), ("scans_compacted", "500,000 scans of 10, after compaction")]),
    "upkeep": ("Compaction, reopening and memory", [
        ("compaction", "compaction, ms"), ("reopen_clean", "reopen after a clean close, ms"), ("reopen_killed", "reopen after a kill, ms"),
        ("size_after_compaction", "size after compaction, MB"), ("anonymous_max", "anonymous memory, MB")]),
}
LABEL, WIDTH, BAR, GAP, HEAD = 130, 640, 13, 3, 24
COLOURS = {"emdb": "#c2410c", "emdb-ordered": "#ea9a6a", "emdb-encrypted": "#f3c6a8"}
OTHERS = "#64748b"


def length(value, low, high, logarithmic):
    room = WIDTH - LABEL - 90
    if logarithmic:
        return room * (0.04 + 0.96 * math.log(value / low) / math.log(high / low))
    return room * value / high


def panel(what, values, limit, top):
    """Lines of SVG from `top` on, and where they end."""
    shown = [value for value, _ in values] + ([limit] if limit else [])
    low, high = min(shown), max(shown)
    logarithmic = low > 0 and high / low > 30
    lines = [f'<text x="0" y="{top + 14}" font-weight="bold">{escape(what)}{" (logarithmic)" if logarithmic else ""}</text>']
    y = top + HEAD
    for value, name in sorted(values):
        size = max(1.0, length(value, low, high, logarithmic)) if value > 0 else 1.0
        lines.append(f'<text x="{LABEL - 6}" y="{y + 10}" text-anchor="end">{escape(name)}</text>')
        lines.append(f'<rect x="{LABEL}" y="{y}" width="{size:.1f}" height="{BAR}" fill="{COLOURS.get(name, OTHERS)}"/>')
        lines.append(f'<text x="{LABEL + size + 5:.1f}" y="{y + 10}">{value:,.3g}</text>' if value < 1000 else
                     f'<text x="{LABEL + size + 5:.1f}" y="{y + 10}">{value:,.0f}</text>')
        y += BAR + GAP
    if limit:
        x = LABEL + length(limit, low, high, logarithmic)
        lines.append(f'<line x1="{x:.1f}" y1="{top + HEAD - 3}" x2="{x:.1f}" y2="{y}" stroke="#111" stroke-dasharray="4 3"/>')
    return lines, y + 12


def draw(title, rows, engines):
    top = 34
    body = []
    for row, what in rows:
        values = []
        for name, engine in engines.items():
            figure = engine["figures"].get(row)
            if figure and name != "limits":
                values.append((figure["value"] / (1e6 if figure["unit"] == "bytes" else 1), name))
        if not values:
            continue
        limit = engines.get("limits", {}).get("figures", {}).get(row)
        lines, top = panel(what, values, limit["value"] if limit else None, top)
        body += lines
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-8 0 {WIDTH + 16} {top}" width="{WIDTH + 16}" '
            'font-family="sans-serif" font-size="11"><rect x="-8" width="100%" height="100%" fill="white"/>')
    return "\n".join([head, f'<text x="0" y="18" font-size="14" font-weight="bold">{escape(title)}</text>', *body, "</svg>", ""])


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    report = json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
    table = next((w for key, w in report["workloads"].items() if key.startswith("table ")), None)
    if table is None:
        sys.exit("plot.py: the report has no workload table")
    for name, (title, rows) in PLOTS.items():
        path = pathlib.Path(sys.argv[2]) / f"{name}.svg"
        path.write_text(draw(title, rows, table["engines"]), encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
