"""Promote a version from one stage to the next, by digest; or point a stage at an earlier one.

    make promote FROM=dev TO=staging [VERSION=0.1.0]
    make rollback STAGE_OF=prod VERSION=0.1.0

What is promoted is what was signed: the files are fetched from the stage before and verified, the
image's signature and attestations are verified there under its digest, the packages' hashes are
compared, and only then everything is copied. Afterwards the same is verified once more where it
arrived, and the tag `current` of the stage is moved. Who may promote is who has the password of the
stage's account. A rollback moves `current` back to a version that is still there, and verifies it
first; packages need none, an index keeps every version.

Nothing is promoted to prod unless `watchkeeper readiness` passes for its commit (`ready.py`).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import urllib.request
from pathlib import Path
from urllib.parse import urljoin

from tools.release._run import Failed, commit, run, stage, version
from tools.release.publish import FILES, upload
from tools.release.ready import EVIDENCE, Gate
from tools.release.sign import PUBLIC
from tools.release.stages import ORDER, Stage, credentials, stages
from tools.release.verify import verify

PRODUCTION = ORDER[-1]
CURRENT = "current"  # the tag that says what a stage runs


def verified(at: Stage, number: str, public: Path, of: str, login: Path) -> str:
    """Verify everything of a version at a stage; return its image as `name@digest`.

    :param of: the commit that it must have been built from.
    :raises Failed: something does not hold.
    """
    with tempfile.TemporaryDirectory(prefix="watchkeeper-fetched-") as name:
        folder = Path(name)
        config = ("--registry-config", login / "config.json")
        run("oras", "pull", *config, "--output", folder, FILES.format(at.image, number))
        verify(folder, public, of)
        _same_packages(at, number, folder)
        digest = (folder / "image.digest").read_text(encoding="utf-8").strip()
    image = f"{at.image}@{digest}"
    docker = {"DOCKER_CONFIG": str(login)}
    common = ("--key", public, "--insecure-ignore-tlog=true", image)
    run("cosign", "verify", *common, env=docker)
    for kind in ("cyclonedx", "slsaprovenance1"):
        run("cosign", "verify-attestation", "--type", kind, *common, env=docker)
    return image


def _same_packages(at: Stage, number: str, folder: Path) -> None:
    """Fetch the packages from a stage's index; they must be the files that were signed."""
    page = f"{at.index}/+simple/watchkeeper/"
    listed = json.loads(_fetched(page, "application/vnd.pypi.simple.v1+json"))["files"]
    signed = {path.name for path in folder.iterdir() if path.name.endswith((".whl", ".tar.gz"))}
    links = {one["filename"]: urljoin(page, one["url"]) for one in listed}
    if missing := signed - links.keys():
        raise Failed(f"{at.index} lacks {', '.join(sorted(missing))}")
    for name in sorted(signed):
        if _fetched(links[name], "*/*") != (folder / name).read_bytes():
            raise Failed(f"{name} in {at.index} is not the file that was signed")


def _fetched(url: str, kind: str) -> bytes:
    request = urllib.request.Request(url, headers={"Accept": kind})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            content: bytes = answer.read()
    except OSError as error:
        raise Failed(f"{url}: {error}") from None
    return content


def promote(
    before: Stage, to: Stage, number: str, public: Path, of: str, gate: Gate | None = None
) -> str:
    """Copy a version to the next stage; return its image there.

    :param gate: what must be shown before prod; everything unless given.
    :raises Failed: it is not ready, or not what was signed, or the stages are not in order.
    """
    if ORDER.index(to.name) != ORDER.index(before.name) + 1:
        raise Failed(
            f"the order is {' → '.join(ORDER)}; {before.name} does not come before {to.name}"
        )
    if to.name == PRODUCTION:
        print((gate or Gate()).hold(of))
    with credentials(before, to) as login:
        image = verified(before, number, public, of, login)
        arrived = image.replace(before.image, to.image)
        docker = {"DOCKER_CONFIG": str(login)}
        run("cosign", "copy", image, f"{to.image}:{number}", env=docker)
        config = login / "config.json"
        both = ("--from-registry-config", config, "--to-registry-config", config)
        run("oras", "cp", *both, FILES.format(before.image, number), FILES.format(to.image, number))
        index = "/".join(to.index.rsplit("/", 2)[1:])
        upload(_as(before, to), login, "push", f"watchkeeper=={number}", index)
        if verified(to, number, public, of, login) != arrived:
            raise Failed(f"{to.name} has another image than {before.name}")
        point(to, arrived, login)
    return arrived


def point(at: Stage, image: str, login: Path) -> None:
    """Move the tag that says what a stage runs."""
    config = ("--registry-config", login / "config.json")
    run("oras", "tag", *config, image, CURRENT)


def _as(before: Stage, to: Stage) -> Stage:
    """Speak to the index before as the account of the next, which may write only there."""
    return Stage(before.name, before.image, before.index, to.account, to.password_file)


def main() -> None:
    """Promote, or roll back."""
    parser = argparse.ArgumentParser(description="promote a version by digest, or roll back")
    parser.add_argument("--from", dest="before", choices=ORDER)
    parser.add_argument("--to", choices=ORDER)
    parser.add_argument("--rollback", choices=ORDER, metavar="STAGE")
    parser.add_argument("--version", default=version())
    parser.add_argument("--key", type=Path, default=PUBLIC)
    parser.add_argument("--commit", help="what the provenance must name; HEAD unless given")
    parser.add_argument("--evidence", type=Path, default=EVIDENCE, help="for prod: what CI saw")
    parser.add_argument("--waivers", type=Path, help="for prod: what need not be shown for a while")
    parser.add_argument("--least", type=float, help="for prod: the readiness; 100 unless given")
    given = parser.parse_args()
    known, of = stages(), given.commit or commit()
    if given.rollback:
        at = known[given.rollback]
        with credentials(at) as login:
            image = verified(at, given.version, given.key, of, login)
            point(at, image, login)
        print(f"{at.name} runs {given.version} again: {image}")
        return
    if not (given.before and given.to):
        parser.error("say --from and --to, or --rollback")
    gate = Gate(given.evidence, given.waivers, given.least)
    image = promote(known[given.before], known[given.to], given.version, given.key, of, gate)
    print(f"promoted {given.version} from {given.before} to {given.to}: {image}")


if __name__ == "__main__":
    stage(main)
