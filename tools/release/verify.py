"""Verify a folder of release files against a public key, or prove that verification refuses.

    make verify                                    dist/ against dist/cosign.pub
    python -m tools.release.verify FOLDER --key KEY [--commit SHA]
    python -m tools.release.verify --prove         tamper with copies; each must be refused

Refused is: a changed byte in any file, a file without a signature, a signature of another key, a
file that SHA256SUMS does not name, and provenance of another commit.
"""

from __future__ import annotations

import argparse
import base64
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from tools.release._run import DIST, Failed, commit, run, stage
from tools.release.sign import ATTESTED, PUBLIC, SIGNED


def verify(folder: Path, public: Path, of: str) -> int:
    """Return how many files hold.

    :param of: the commit that the provenance must name.
    :raises Failed: one does not; the message names it.
    """
    with tempfile.TemporaryDirectory(prefix="watchkeeper-trust-") as kept:
        root = Path(kept) / "trusted-root.json"
        run("cosign", "trusted-root", "create", "--out", root)  # else an outside service is asked
        common = (
            *("--key", public, "--trusted-root", root),
            *("--new-bundle-format", "--insecure-ignore-tlog"),
        )
        _signed(folder, "SHA256SUMS", common)
        sums = dict(
            reversed(line.split("  ")) for line in (folder / "SHA256SUMS").read_text().splitlines()
        )
        for name in sums:
            _signed(folder, name, common)
        listed = "".join(f"{digest}  {name}\n" for name, digest in sums.items())
        if listed != _sums(folder, list(sums)):
            raise Failed("SHA256SUMS does not hold")
        attested = [name for name in sums if name.endswith((".whl", ".tar.gz"))]
        for name in attested:
            bundle = folder / ATTESTED.format(name)
            about = ("--type", "slsaprovenance1", "--bundle", bundle)
            _holds(f"{name}: provenance", "verify-blob-attestation", *common, *about, folder / name)
            _of_commit(name, bundle, of)
    return len(sums) + 1


def _signed(folder: Path, name: str, common: tuple[str | Path, ...]) -> None:
    bundle = folder / SIGNED.format(name)
    if not bundle.is_file():
        raise Failed(f"{name}: there is no signature, {bundle.name} is missing")
    _holds(f"{name}: signature", "verify-blob", *common, "--bundle", bundle, folder / name)


def _holds(what: str, *command: str | Path) -> None:
    try:
        run("cosign", *command)
    except Failed as error:
        said = [line for line in str(error).splitlines() if "rror" in line]
        raise Failed(f"{what} does not hold: {said[-1] if said else error}") from None


def _of_commit(name: str, bundle: Path, of: str) -> None:
    envelope = json.loads(bundle.read_text(encoding="utf-8"))["dsseEnvelope"]
    predicate = json.loads(base64.b64decode(envelope["payload"]))["predicate"]
    inputs = predicate["buildDefinition"]["resolvedDependencies"]
    named = [one["digest"]["gitCommit"] for one in inputs if "gitCommit" in one.get("digest", {})]
    if named != [of]:
        raise Failed(f"{name}: its provenance is of commit {', '.join(named)}, not of {of}")


def _sums(folder: Path, names: list[str]) -> str:
    from tools.release.sign import sums

    return sums([folder / name for name in names])


def prove(public: Path) -> list[str]:
    """Damage copies of dist/ in every way we claim to notice; return how each was refused.

    :raises Failed: one was accepted.
    """
    refusals = []
    for what, damage in DAMAGES.items():
        with tempfile.TemporaryDirectory(prefix="watchkeeper-damaged-") as name:
            folder = Path(name)
            for path in DIST.iterdir():
                if path.is_file():
                    shutil.copy2(path, folder / path.name)
            key, of = damage(folder, public)
            try:
                verify(folder, key, of)
            except Failed as refused:
                refusals.append(f"{what}: {str(refused).splitlines()[0]}")
                continue
        raise Failed(f"ACCEPTED in spite of {what}")
    return refusals


def _flip(folder: Path, pattern: str) -> None:
    path = next(iter(sorted(folder.glob(pattern))))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _flipped(pattern: str) -> Callable[[Path, Path], tuple[Path, str]]:
    def damage(folder: Path, public: Path) -> tuple[Path, str]:
        _flip(folder, pattern)
        return public, commit()

    return damage


def _unsigned(folder: Path, public: Path) -> tuple[Path, str]:
    next(folder.glob("*.whl.sigstore.json")).unlink()
    return public, commit()


def _wrong_key(folder: Path, public: Path) -> tuple[Path, str]:
    run("cosign", "generate-key-pair", env={"COSIGN_PASSWORD": ""}, cwd=folder)
    return folder / "cosign.pub", commit()


def _unlisted(folder: Path, public: Path) -> tuple[Path, str]:
    wheel = next(folder.glob("*.whl"))
    text = (folder / "SHA256SUMS").read_text(encoding="utf-8")
    (folder / "SHA256SUMS").write_text(text.replace(wheel.name, "other.whl"), encoding="utf-8")
    return public, commit()


def _other_commit(folder: Path, public: Path) -> tuple[Path, str]:
    return public, "0" * 40


DAMAGES: dict[str, Callable[[Path, Path], tuple[Path, str]]] = {
    "a changed byte in the wheel": _flipped("*.whl"),
    "a changed byte in the sdist": _flipped("*.tar.gz"),
    "a changed byte in a bill of materials": _flipped("package.cdx.json"),
    "a changed byte in the provenance": _flipped("provenance.json"),
    "a changed byte in the image's digest": _flipped("image.digest"),
    "a changed byte in the signed provenance": _flipped("*.whl.intoto.sigstore.json"),
    "a missing signature": _unsigned,
    "another key": _wrong_key,
    "a file that the sums do not name": _unlisted,
    "provenance of another commit": _other_commit,
}


def main() -> None:
    """Verify, or prove that verification refuses."""
    parser = argparse.ArgumentParser(description="verify signed release files")
    parser.add_argument("folder", type=Path, nargs="?", default=DIST)
    parser.add_argument("--key", type=Path, default=PUBLIC)
    parser.add_argument("--commit", help="the commit that provenance must name; HEAD unless given")
    parser.add_argument("--prove", action="store_true", help="tamper, and expect refusals")
    given = parser.parse_args()
    if given.prove:
        print("\n".join(f"refused, as it must be: {line}" for line in prove(given.key)))
        return
    print(f"{verify(given.folder, given.key, given.commit or commit())} files hold")


if __name__ == "__main__":
    stage(main)
