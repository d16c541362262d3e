"""Build the documentation as a site into `site/VERSION`, beside the versions that are there.

    make docs

Documents are taken as they are in the repository; the reference is made from the code. A warning
of Sphinx, a document that stands in no table of `docs/index.md`, a link that leads nowhere, or
anything that a page would fetch from elsewhere ends the build.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from pathlib import Path

from sphinx.cmd.build import main as sphinx
from tools.site import api, commands, keys, links, packs, python

from watchkeeper import __version__

ROOT = Path(__file__).parents[2]
SITE = ROOT / "site"
VERSION = ".".join(__version__.split(".")[:2])
MADE = {
    "commands": commands.page,
    "keys": keys.page,
    "api": api.page,
    "packs": packs.page,
    "python": python.page,
}
REFERENCE = "Look up"  # the section of docs/index.md where what is made from the code belongs
FOLDERS = {"decisions": "Understand", "runbooks": "Operate"}  # whose own index lists them
BESIDE = "versions.js"


def sections() -> dict[str, list[str]]:
    """Return the documents that docs/index.md lists, by section, as paths from the repository."""
    found = dict[str, list[str]]()
    text = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        title, _, body = part.partition("\n")
        names = re.findall(r"\]\(([^)#:]+\.md)\)", body)
        paths = [(ROOT / "docs" / name).resolve().relative_to(ROOT) for name in names]
        if paths:
            found[title] = list(dict.fromkeys(map(str, paths)))
    return found


def staged(work: Path) -> None:
    """Lay the sources of the site out in an empty folder."""
    shutil.copytree(ROOT / "docs", work / "docs")
    loose = [*ROOT.glob("*.md"), ROOT / "LICENSE", ROOT / "security" / "vulnerabilities.toml"]
    for path in [*loose, *ROOT.glob("src/watchkeeper/packs/*/README.md")]:
        to = work / path.relative_to(ROOT)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, to)
    (work / "docs" / "reference").mkdir()
    for name, page in MADE.items():
        (work / "docs" / "reference" / f"{name}.md").write_text(page(), encoding="utf-8")
    front = (work / "README.md").read_text(encoding="utf-8")
    (work / "README.md").unlink()
    (work / "index.md").write_text(front + contents(), encoding="utf-8")


def contents() -> str:
    """Return the tables of contents: the sections of docs/index.md, and what is made."""
    parts = ["", _toctree("Overview", ["docs/index.md"])]
    for title, names in sections().items():
        made = [f"docs/reference/{name}.md" for name in MADE] if title == REFERENCE else []
        more = [f"docs/{folder}/*" for folder, of in FOLDERS.items() if of == title]
        more = [one for one in more if (ROOT / one).parent.is_dir()]
        readmes = ["src/watchkeeper/packs/*/README"] if title == REFERENCE else []
        parts.append(_toctree(title, [*made, *names, *more, *readmes]))
    return "\n".join(parts)


def _toctree(title: str, names: list[str]) -> str:
    lines = ["```{toctree}", ":hidden:", ":glob:", f":caption: {title}", "", *names, "```", ""]
    return "\n".join(lines)


def build(to: Path) -> None:
    """Build the site into a folder.

    :raises SystemExit: something is not as it must be; what it is was printed.
    """
    shutil.rmtree(to, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="watchkeeper-site-") as name:
        work = Path(name)
        (work / "source").mkdir()
        staged(work / "source")
        conf = str(Path(__file__).parent)
        words = [
            "-q",
            "-j",
            "2",
            "-W",
            "--keep-going",
            "-b",
            "html",
            "-c",
            conf,
            "-d",
            str(work / "state"),
        ]
        if sphinx([*words, str(work / "source"), str(to)]):
            sys.exit("the site was not built: see the warnings above")
    wrong, outside = links.check(to, (BESIDE,))
    if wrong:
        sys.exit("\n".join([*wrong, f"{len(wrong)} links do not hold"]))
    pages = sum(1 for _ in to.rglob("*.html"))
    print(f"{pages} pages, every link within holds; {len(outside)} lead out and were not followed:")
    print("\n".join(f"  {one}" for one in outside))


def listed(site: Path) -> None:
    """Tell each version's selector of the others, and lead whoever opens the site to the newest."""
    versions = sorted(
        (path.name for path in site.iterdir() if re.fullmatch(r"\d+\.\d+", path.name)),
        key=lambda name: tuple(map(int, name.split("."))),
        reverse=True,
    )
    named = ", ".join(f'"{one}"' for one in versions)
    (site / BESIDE).write_text(f"window.watchkeeperVersions = [{named}];\n", encoding="utf-8")
    (site / "index.html").write_text(
        '<!doctype html><meta charset="utf-8"><title>Watchkeeper</title>\n'
        f'<meta http-equiv="refresh" content="0; url={versions[0]}/index.html">\n'
        f'<a href="{versions[0]}/index.html">Watchkeeper {versions[0]}</a>\n',
        encoding="utf-8",
    )


if __name__ == "__main__":
    build(SITE / VERSION)
    listed(SITE)
    print(f"the site: file://{SITE / VERSION}/index.html")
