"""Sign what is in `dist/`: a bundle beside each file, and the provenance as an attestation.

    make sign

With COSIGN_PRIVATE_KEY (a file, or the key itself) and COSIGN_PASSWORD in the environment that key
signs; without, a key made for this run alone does, whose public half is written to
`dist/cosign.pub`. Such signatures are in no transparency log: who trusts them trusts the key.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.release._run import DIST, Failed, run, stage, version

PUBLIC = DIST / "cosign.pub"
SUMS = DIST / "SHA256SUMS"
ATTESTED = "{}.intoto.sigstore.json"
SIGNED = "{}.sigstore.json"


def artefacts() -> list[Path]:
    """Return what a release consists of, in the order of SHA256SUMS.

    :raises Failed: a stage before has not run.
    """
    names = [
        *sorted(path.name for path in DIST.glob(f"watchkeeper-{version()}*.whl")),
        f"watchkeeper-{version()}.tar.gz",
        "package.cdx.json",
        "image.cdx.json",
        "image.digest",
        "provenance.json",
        "watchkeeper.vex.json",
    ]
    missing = [name for name in names if not (DIST / name).is_file()]
    if missing or len(names) != 7:
        raise Failed(f"dist/ lacks {', '.join(missing) or 'the wheel'}; run `make release`")
    return [DIST / name for name in names]


@contextmanager
def key() -> Iterator[tuple[Path, dict[str, str]]]:
    """Give the private key and the environment that opens it; its public half is in PUBLIC."""
    with tempfile.TemporaryDirectory(prefix="watchkeeper-key-") as folder:
        given, path = os.environ.get("COSIGN_PRIVATE_KEY", ""), Path(folder) / "cosign.key"
        if given:
            text = given if given.startswith("-----") else Path(given).read_text(encoding="utf-8")
            path.touch(mode=0o600)
            path.write_text(text, encoding="utf-8")
            env = {"COSIGN_PASSWORD": os.environ.get("COSIGN_PASSWORD", "")}
            PUBLIC.write_text(run("cosign", "public-key", "--key", path, env=env), encoding="utf-8")
        else:
            env = {"COSIGN_PASSWORD": secrets.token_urlsafe(24)}
            run("cosign", "generate-key-pair", env=env, cwd=Path(folder))
            PUBLIC.write_bytes((Path(folder) / "cosign.pub").read_bytes())
        yield path, env


def sums(files: list[Path]) -> str:
    """Return lines as `sha256sum` writes and checks them."""
    return "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files
    )


def main() -> None:
    """Sign every artefact, and say of wheel and sdist where they came from."""
    files = artefacts()
    SUMS.write_text(sums(files), encoding="utf-8")
    with key() as (private, env):
        common = ("--yes", "--key", private, "--tlog-upload=false", "--new-bundle-format")
        for path in [*files, SUMS]:
            bundle = DIST / SIGNED.format(path.name)
            run("cosign", "sign-blob", *common, "--bundle", bundle, path, env=env)
        for path in files[:2]:
            bundle = DIST / ATTESTED.format(path.name)
            about = ("--type", "slsaprovenance1", "--predicate", DIST / "provenance.json")
            run("cosign", "attest-blob", *common, *about, "--bundle", bundle, path, env=env)
    print(f"signed {len(files) + 1} files, attested 2; public key in {PUBLIC.name}")


if __name__ == "__main__":
    stage(main)
