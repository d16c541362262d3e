"""Build the container image, into `dist/image` (an OCI layout): the same bytes each time.

    make image        needs root, buildah and mmdebstrap

The application is laid out for the image's own Python by `uv` from the hash-locked requirements and
the wheel in `dist/`; the base is Debian's, without a shell. Every time in it is the commit's.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tools.release._run import DIST, ROOT, Failed, commit, epoch, run, stage, version

PYTHON = "3.13"  # of the base
PLATFORM = "x86_64-manylinux_2_28"
CONTAINER = ROOT / "deploy" / "container"
DIGEST = DIST / "image.digest"


def lay_out(app: Path) -> None:
    """Install the locked requirements and our wheel below `app`, for the image's Python."""
    shutil.rmtree(app, ignore_errors=True)
    install = (
        *("uv", "pip", "install", "--quiet", "--target", app, "--no-deps", "--link-mode", "copy"),
        *("--python-version", PYTHON, "--python-platform", PLATFORM, "--only-binary", ":all:"),
    )
    run(*install, "--require-hashes", "-r", ROOT / "requirements.lock")
    # By name, not by path: a path would be written into what is installed. Not from uv's cache,
    # which takes every wheel of one version for the same.
    run(*install, "--no-cache", "--no-index", "--find-links", DIST, f"watchkeeper=={version()}")
    shutil.rmtree(app / "bin", ignore_errors=True)  # scripts that name the building Python
    (app / ".lock").unlink(missing_ok=True)


def build(folder: Path, base: Path) -> str:
    """Build from `folder` (which has app/ and data/) into folder/image; return its digest."""
    env = {
        "SOURCE_DATE_EPOCH": epoch(),
        "STORAGE_DRIVER": os.environ.get("STORAGE_DRIVER", "overlay"),
    }
    store = tempfile.mkdtemp(prefix="watchkeeper-buildah-")
    buildah = ("buildah", "--root", f"{store}/root", "--runroot", f"{store}/run")
    containerfile = folder / "base.containerfile"
    containerfile.write_text("FROM scratch\nADD base.tar /\n", encoding="utf-8")
    bud = (
        *buildah,
        "bud",
        "--quiet",
        "--isolation",
        "chroot",
        "--timestamp",
        env["SOURCE_DATE_EPOCH"],
    )
    try:
        shutil.copyfile(base, folder / "base.tar")
        run(*bud, "-t", "localhost/base", "-f", containerfile, folder, env=env)
        arguments = {"BASE": "localhost/base", "VERSION": version(), "REVISION": commit()}
        given = [
            word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")
        ]
        containerfile = CONTAINER / "Containerfile"
        run(*bud, *given, "-t", "localhost/watchkeeper", "-f", containerfile, folder, env=env)
        digest = folder / "image.digest"
        shutil.rmtree(folder / "image", ignore_errors=True)
        to = f"oci:{folder / 'image'}:{version()}"
        run(
            *buildah,
            "push",
            "--quiet",
            "--digestfile",
            digest,
            "localhost/watchkeeper",
            to,
            env=env,
        )
        return digest.read_text(encoding="utf-8").strip()
    finally:
        shutil.rmtree(store, ignore_errors=True)
        (folder / "base.tar").unlink(missing_ok=True)


def made(folder: Path) -> str:
    """Make everything anew in an empty folder; return the image's digest."""
    lay_out(folder / "app")
    (folder / "data").mkdir(mode=0o700)
    base = folder / "made.tar"
    run(CONTAINER / "base.sh", base, env={"SOURCE_DATE_EPOCH": epoch()})
    return build(folder, base)


def main() -> None:
    """Build twice, from two bases made apart; keep one when both have the same digest."""
    wheels = list(DIST.glob(f"watchkeeper-{version()}-*.whl"))
    if len(wheels) != 1:
        raise Failed("no wheel of this version in dist/; run `make package` first")
    with (
        tempfile.TemporaryDirectory(prefix="watchkeeper-one-") as one,
        tempfile.TemporaryDirectory(prefix="watchkeeper-two-") as two,
        ThreadPoolExecutor() as both,
    ):
        digests = list(both.map(made, (Path(one), Path(two))))
        shutil.rmtree(DIST / "image", ignore_errors=True)
        shutil.copytree(Path(one) / "image", DIST / "image")
    if digests[0] != digests[1]:
        raise Failed(f"two builds differ: {digests[0]} and {digests[1]}")
    DIGEST.write_text(digests[0] + "\n", encoding="utf-8")
    print(f"built twice, byte for byte the same: image {digests[0]}")


if __name__ == "__main__":
    stage(main)
