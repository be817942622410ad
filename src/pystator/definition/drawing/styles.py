"""The style sheet of an SVG picture: every rule names the picture, as it may stand in a page."""

__all__ = ["STYLE"]

LIGHT = {
    "page": "fill:#ffffff",
    "text": "fill:#1f2328",
    "quiet": "fill:#57606a",
    "box": "fill:#f6f8fa;stroke:#6e7781",
    "holder": "fill:#6e7781;fill-opacity:.05;stroke:#8c959f",
    "line": "stroke:#57606a",
    "solid": "fill:#57606a",
    "pale": "stroke:#afb8c1",
    "error": "stroke:#cf222e",
    "visited": "fill:#ddf4ff;stroke:#0969da",
    "active": "stroke:#bf8700",
    "current": "fill:#fff1b8;stroke:#bf8700",
}

DARK = {
    "page": "fill:#0d1117",
    "text": "fill:#e6edf3",
    "quiet": "fill:#9da7b3",
    "box": "fill:#161b22;stroke:#8b949e",
    "holder": "fill:#9da7b3;fill-opacity:.06;stroke:#6e7681",
    "line": "stroke:#9da7b3",
    "solid": "fill:#9da7b3",
    "pale": "stroke:#484f58",
    "error": "stroke:#f85149",
    "visited": "fill:#0c2d6b;stroke:#4493f8",
    "active": "stroke:#d29922",
    "current": "fill:#4b3800;stroke:#e3b341",
}

RULES = (
    (".page", "page"),
    ("text", "text"),
    (".inside|.action|.ref|.small", "quiet"),
    (".state>rect|.terminal>rect|.choice>path|.shallow>circle|.deep>circle", "box"),
    (".compound>rect|.parallel>rect", "holder"),
    (".way|.ring", "line"),
    (".head|.dot|.initial>circle|.fork>rect", "solid"),
    (".rule|.divider", "pale"),
    (".error>rect|.error>path:first-of-type", "error"),
    (".visited>rect|.visited>path:first-of-type", "visited"),
    (".active>rect", "active"),
    (".current>rect|.current>path:first-of-type", "current"),
)
"""What is painted how; later rules win."""

SHAPES = """
text{font:11px system-ui,-apple-system,"Segoe UI",Roboto,Helvetica,Arial,sans-serif;stroke:none}
.title{font-size:16px;font-weight:600}
.name{font-size:13px;font-weight:600}
.region>.name{font-size:11px}
.trigger{font-weight:600}
.ref{font-style:italic}
.middle{text-anchor:middle}
.way,.ring,.rule,.divider{fill:none}
.way,.ring{stroke-width:1.2}
.divider{stroke-dasharray:5 4}
rect.inner{fill:none}
.error>rect,.visited>rect,.active>rect{stroke-width:1.6}
.current>rect{stroke-width:2.4}
.arrow:hover>.way{stroke-width:2.4}
"""


def _scoped(selectors: str) -> str:
    return ",".join(f".pystator {selector}" for selector in selectors.split("|"))


def _colors(palette: dict[str, str]) -> str:
    return "".join(f"{_scoped(selectors)}{{{palette[name]}}}" for selectors, name in RULES)


def _style() -> str:
    shapes = "".join(
        f"{_scoped(selectors.replace(',', '|'))}{{{body}"
        for selectors, _, body in (line.partition("{") for line in SHAPES.split("\n") if line)
    )
    return (
        f"{_colors(LIGHT)}{shapes}@media (prefers-color-scheme:dark){{{_colors(DARK)}"
        ".pystator rect.inner{fill:none}}"
    )


STYLE = _style()
