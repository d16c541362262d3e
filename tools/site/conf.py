"""How Sphinx builds the site; `tools/site/build.py` calls it."""

from pathlib import Path
from typing import Any

from watchkeeper import __version__

project = "Watchkeeper"
author = "the Watchkeeper authors"
copyright = "the Watchkeeper authors, Apache-2.0"
version = ".".join(__version__.split(".")[:2])
release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
source_suffix = {".md": "markdown"}
root_doc = "index"
highlight_language = "text"
myst_heading_anchors = 4
suppress_warnings = ["myst.header"]  # entries of a reference are headings of the third level
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_display_short_literal_types = True

html_theme = "furo"
html_title = f"Watchkeeper {version}"
html_static_path = [str(Path(__file__).parent / "theme" / "versions.js")]
templates_path = [str(Path(__file__).parent / "theme")]
html_copy_source = False
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "sidebar/search.html",
        "versions.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "sidebar/scroll-end.html",
    ]
}


def drawn(_app: Any, what: str, _name: str, _of: Any, _options: Any, lines: list[str]) -> None:
    """Keep what is drawn in a module's docstring as it is drawn."""
    if what == "module" and any(line.startswith("    ") for line in lines):
        lines[1:] = ["", "::", "", *(f"    {line}" for line in lines[1:])]


def setup(app: Any) -> None:
    """Take part in the build."""
    app.connect("autodoc-process-docstring", drawn)
