"""Make the pipelines of GitHub and GitLab from `.ci/stages.txt`; `--check` only compares.

    make pipelines

One list says what must hold; three places run it. The pipelines get no permission beyond reading
the repository, and actions are named by commit.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
GITHUB = ROOT / ".github" / "workflows" / "ci.yml"
GITLAB = ROOT / ".gitlab-ci.yml"
CHECKOUT = "actions/checkout@11bd71901bbe5b1630ceea73d27597364c9af683 # v4.2.2"
UPLOAD = "actions/upload-artifact@ea165f8d65b6e75b540449e92b4886f43607fa02 # v4.6.2"
SCREENS = "out/screens"  # a picture of every page, by the tests in a browser
KEPT = 14  # days
IMAGE = "debian:bookworm"
MADE = "# Made from .ci/stages.txt by tools/pipelines.py; do not edit.\n"


def stages() -> list[tuple[str, str]]:
    """Return name and purpose of each stage, in order."""
    lines = (ROOT / ".ci" / "stages.txt").read_text(encoding="utf-8").splitlines()
    rows = [line.split("|") for line in lines if line and not line.startswith("#")]
    return [(name.strip(), proves.strip()) for name, _, proves in rows]


def github() -> str:
    """Return the workflow of GitHub Actions."""
    steps = "".join(
        f"      - name: {name} · {proves.replace(':', ' -')}\n        run: .ci/run {name}\n"
        for name, proves in stages()
    )
    return (
        f"{MADE}name: ci\n"
        "on:\n  push:\n    branches: [main]\n  pull_request:\n"
        "permissions: {}\n"
        "concurrency:\n  group: ci-${{ github.ref }}\n  cancel-in-progress: true\n"
        "jobs:\n  ci:\n    name: everything that must hold\n    runs-on: ubuntu-24.04\n"
        f"    container:\n      image: {IMAGE}\n      options: --privileged\n"
        "    permissions:\n      contents: read # to check the change out\n"
        "    timeout-minutes: 90\n    steps:\n"
        "      - name: what checking out takes\n"
        "        run: apt-get update -q && apt-get install -yq --no-install-recommends"
        " git ca-certificates make python3\n"
        f"      - uses: {CHECKOUT}\n        with:\n          persist-credentials: false\n"
        "          fetch-depth: 0\n"
        "      - name: trust the folder that was checked out\n"
        '        run: git config --global --add safe.directory "$GITHUB_WORKSPACE"\n'
        f"{steps}"
        "      - name: what every page looks like\n        if: ${{ !cancelled() }}\n"
        f"        uses: {UPLOAD}\n        with:\n          name: screens\n"
        f"          path: {SCREENS}\n          retention-days: {KEPT}\n"
        "          if-no-files-found: ignore\n"
    )


def gitlab() -> str:
    """Return the pipeline of GitLab: one job, because each stage goes on from the one before."""
    script = "".join(f"    - .ci/run {name} # {proves}\n" for name, proves in stages())
    return (
        f"{MADE}default:\n  image: {IMAGE}\n"
        "ci:\n  timeout: 90 minutes\n  variables:\n    GIT_DEPTH: 0\n"
        "  before_script:\n"
        "    - apt-get update -q && apt-get install -yq --no-install-recommends"
        " git ca-certificates make python3\n"
        f"  script:\n{script}"
        f"  artifacts:\n    name: screens\n    when: always\n    expire_in: {KEPT} days\n"
        f"    paths:\n      - {SCREENS}\n"
    )


def main() -> None:
    """Write both, or say which is stale."""
    stale = []
    for path, text in ((GITHUB, github()), (GITLAB, gitlab())):
        if "--check" not in sys.argv[1:]:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(str(path.relative_to(ROOT)))
    if stale:
        sys.exit(f"stale: {', '.join(stale)}; run `make pipelines`")


if __name__ == "__main__":
    main()
