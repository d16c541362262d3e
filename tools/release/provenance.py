"""Say from what and how the artefacts in `dist/` were built: `dist/provenance.json`, SLSA v1.

    make provenance        after `make package`, `make image`

The predicate of an in-toto statement, https://slsa.dev/spec/v1.0/provenance: the commit, the
hash-locked requirements, and what the base of the image was made of. It is signed in the next
stage. We claim Build L1: it exists, it is complete, and it is signed; the machine that writes it is
not a hosted, isolated builder.
"""

from __future__ import annotations

import hashlib
import json
import platform
from datetime import UTC, datetime
from typing import Any

from tools.release._run import DIST, ROOT, Failed, commit, epoch, run, stage, version

PREDICATE = DIST / "provenance.json"
BUILD = "urn:watchkeeper:release"  # docs/release.md describes it
LOCKS = ("requirements.lock", "requirements-build.lock", "requirements-release.lock")


def predicate() -> dict[str, Any]:
    """Return the provenance of what this tree builds.

    :raises Failed: the tree has changes that no commit names.
    """
    if changed := run("git", "status", "--porcelain", "--untracked-files=no").strip():
        raise Failed(f"not what the commit says:\n{changed}")
    at = datetime.fromtimestamp(int(epoch()), tz=UTC).isoformat().replace("+00:00", "Z")
    inputs = [{"uri": "git+file:.", "digest": {"gitCommit": commit()}}]
    for name in LOCKS:
        digest = hashlib.sha256((ROOT / name).read_bytes()).hexdigest()
        inputs.append({"uri": f"file:{name}", "digest": {"sha256": digest}})
    return {
        "buildDefinition": {
            "buildType": f"{BUILD}:v1",
            "externalParameters": {"version": version(), "targets": ["package", "image"]},
            "internalParameters": {"SOURCE_DATE_EPOCH": epoch()},
            "resolvedDependencies": inputs + _base(),
        },
        "runDetails": {
            "builder": {
                "id": f"{BUILD}:builder",
                "version": {"python": platform.python_version(), **_builders()},
            },
            "metadata": {"invocationId": commit(), "startedOn": at, "finishedOn": at},
        },
    }


def _base() -> list[dict[str, Any]]:
    """Return Debian's packages of the image as resolved dependencies."""
    bill = json.loads((DIST / "image.cdx.json").read_text(encoding="utf-8"))
    purls = sorted(one["purl"] for one in bill["components"] if one["purl"].startswith("pkg:deb/"))
    return [{"uri": purl} for purl in purls]


def _builders() -> dict[str, str]:
    return {name: run(name, "--version").split()[-1] for name in ("uv", "mmdebstrap")} | {
        "buildah": run("buildah", "--version").split()[2]
    }


def main() -> None:
    """Write the predicate."""
    PREDICATE.write_text(json.dumps(predicate(), indent=2, sort_keys=True) + "\n", encoding="utf-8")
    print(f"provenance of {commit()[:12]}: {PREDICATE.name}")


if __name__ == "__main__":
    stage(main)
