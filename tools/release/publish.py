"""Publish a signed `dist/` to the first stage: packages, image, and the files that prove them.

    make publish        needs STAGES, COSIGN_PRIVATE_KEY and COSIGN_PASSWORD

Nothing is published that does not verify. The image is pushed as it was built, the registry must
have given it the digest that was signed; then it is signed there, and its bill of materials and
provenance are attested.
"""

from __future__ import annotations

import os
from pathlib import Path

from tools.release._run import DIST, Failed, commit, run, stage, version
from tools.release.sign import PUBLIC, artefacts, key
from tools.release.stages import Stage, credentials, stages
from tools.release.verify import verify

FILES = "{}/files:{}"  # where the signed files of a version are, as one artefact


def push_image(to: Stage, login: Path) -> str:
    """Push the image of `dist/`, and return it as `name@digest`.

    :raises Failed: the registry has it under another digest than the one that was signed.
    """
    tag = f"{to.image}:{version()}"
    authfile = ("--dest-authfile", login / "config.json")
    source = f"oci:{DIST / 'image'}:{version()}"
    run("skopeo", "copy", "--quiet", "--preserve-digests", *authfile, source, f"docker://{tag}")
    signed = (DIST / "image.digest").read_text(encoding="utf-8").strip()
    found = run(
        *("skopeo", "inspect", "--authfile", login / "config.json"),
        *("--format", "{{.Digest}}", f"docker://{tag}"),
    ).strip()
    if found != signed:
        raise Failed(f"{tag} is {found}, not {signed}")
    return f"{to.image}@{signed}"


def sign_image(image: str, login: Path) -> None:
    """Sign an image in its registry, and attest its bill of materials and provenance."""
    docker = {"DOCKER_CONFIG": str(login)}
    about = {"cyclonedx": DIST / "image.cdx.json", "slsaprovenance1": DIST / "provenance.json"}
    with key() as (private, env):
        common = ("--yes", "--key", private, "--tlog-upload=false")
        run("cosign", "sign", *common, image, env=env | docker)
        for kind, predicate in about.items():
            words = ("--type", kind, "--predicate", predicate)
            run("cosign", "attest", *common, *words, image, env=env | docker)


def push_files(to: Stage, login: Path) -> None:
    """Push everything that was signed, with its signatures, as one artefact."""
    names = sorted(
        path.name
        for path in DIST.iterdir()
        if path.name.endswith(".sigstore.json") or path.name in ("SHA256SUMS", "cosign.pub")
    )
    names += [path.name for path in artefacts()]
    config = ("--registry-config", login / "config.json")
    kind = ("--artifact-type", "application/vnd.watchkeeper.release")
    run("oras", "push", *config, *kind, FILES.format(to.image, version()), *names, cwd=DIST)


def upload(to: Stage, folder: Path, *words: str) -> None:
    """Speak to a stage's package index as its account."""
    devpi = ("--clientdir", folder / "devpi")
    run("devpi", "use", to.index, *devpi)
    run("devpi", "login", to.account, f"--password={to.password}", *devpi)
    run("devpi", *words, *devpi)


def main() -> None:
    """Publish to the first stage."""
    if not os.environ.get("COSIGN_PRIVATE_KEY"):
        raise Failed("COSIGN_PRIVATE_KEY names no key; see docs/release.md")
    files = verify(DIST, PUBLIC, commit())
    to = stages()["dev"]
    with credentials(to) as login:
        image = push_image(to, login)
        sign_image(image, login)
        push_files(to, login)
        packages = [str(path) for path in artefacts()[:2]]
        upload(to, login, "upload", *packages)
    print(f"published {version()} to {to.name}: {files} files, {image}")


if __name__ == "__main__":
    stage(main)
