"""The figures as a table for people, as Markdown for the documentation, as JSON for programs."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from csrc import compiled
from tools.bench.measures import Figure

HEADINGS = ("figure", "measured", "spread", "veth, ns-3", "ratio", "also", "target", "met")


def form() -> str:
    """In which form the processes that were measured run terrella's hot modules (docs/explanation/compiled.md)."""
    plain = os.environ.get("TERRELLA_COMPILED") == "0" or compiled.state()[1]
    return "plain Python" if plain else "compiled"


def host() -> dict[str, object]:
    """What it was measured on."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        named = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = named[0].partition(":")[2].strip() if named else model
    return {
        "cpu": model, "cpus": os.cpu_count(), "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(), "form": form(),
    }  # fmt: skip


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def rows(figures: Sequence[Figure]) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for f in figures:
        target = f.target
        also = []
        if "cpu_s_per_gb" in f.extra:
            also.append(f"{f.extra['cpu_s_per_gb']:.2f} CPU s/GB")
        if "cpu_us" in f.extra:
            also.append(f"{f.extra['cpu_us']:.0f} us of CPU each")
        if f.lwip is not None and f.lwip_ratio is not None:
            also.append(f"lwIP {number(f.lwip)}: {f.lwip_ratio:.2f}x")
        if "alone_gb_s" in f.extra:
            also.append(f"alone {f.extra['alone_gb_s']:.2f} GB/s")
        if "p99_us" in f.extra:
            theirs = f" (veth {number(f.extra['peer_p99_us'])})" if "peer_p99_us" in f.extra else ""
            also.append(f"p99 {number(f.extra['p99_us'])} us{theirs}")
        if "megabytes" in f.extra:
            also.append(f"{f.extra['megabytes']:g} MB")
        found.append(
            (
                target.name,
                f"{number(f.value)} {target.unit}",
                f"{number(f.low)}..{number(f.high)} of {f.runs}",
                f"{number(f.peer)} {target.unit}" if f.peer is not None else "",
                f"{f.ratio:.2f}" if f.ratio is not None else "",
                ", ".join(also),
                target.text(),
                "no" if f.misses() else "yes",
            )
        )
    return found


def table(figures: Sequence[Figure]) -> None:
    from rich.console import Console
    from rich.table import Table

    grid = Table(title=None, box=None, pad_edge=False, header_style="bold")
    for i, heading in enumerate(HEADINGS):
        grid.add_column(heading, justify="right" if i in (1, 3, 4) else "left", no_wrap=i < 5)
    for figure, row in zip(figures, rows(figures)):
        style = "red" if figure.misses() else ""
        grid.add_row(*row, style=style)
    width = None if sys.stdout.isatty() else 200
    console = Console(width=width)
    console.print(grid)
    for figure in figures:
        console.print(f"[dim]{figure.name}: {figure.target.what}[/dim]", highlight=False)
    console.print("[dim]measured on " + ", ".join(str(v) for v in host().values()) + "[/dim]", highlight=False)


def markdown(figures: Sequence[Figure]) -> str:
    lines = ["| " + " | ".join(HEADINGS) + " |", "|" + "---|" * len(HEADINGS)]
    lines += ["| " + " | ".join(row) + " |" for row in rows(figures)]
    about = host()
    lines += ["", f"Measured, not modelled, on {about['cpu']} with {about['cpus']} CPUs, {about['kernel']}, "
              f"Python {about['python']}, {about['form']}; medians."]  # fmt: skip
    return "\n".join(lines)


def as_json(figures: Sequence[Figure], profiles: dict[str, Any]) -> str:
    return json.dumps({"host": host(), "figures": [f.as_dict() for f in figures], "profiles": profiles}, indent=1)


def profile(name: str, report: dict[str, Any], most: int = 18) -> str:
    """A sampler's report: own share, share with everything called, function, and its hottest line."""
    lines = [f"where the time goes: {name} ({report['samples']} samples of its CPU time)", "   own  whole  function"]
    for row in report["functions"][:most]:
        lines.append(f"{row['own']:6.1%} {row['whole']:6.1%}  {row['function']}")
        if row["at_line"] > 0.01:
            lines.append(f"               {row['at_line']:.1%} at {row['line']}: {row['text'][:80]}")
    return "\n".join(lines)
