"""Write the bills of materials: `dist/package.cdx.json` and `dist/image.cdx.json`, CycloneDX 1.6.

    make sbom        after `make package` and `make image`

The package's lists what an environment holds that has the hash-locked requirements and nothing for
development. The image's is read from the image itself: Debian's packages from the notes its base
keeps of them, Python's from what is installed. Both are held to the strict schema; both are the
same bytes each time.
"""

from __future__ import annotations

import email
import json
import tarfile
import tempfile
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from tools.release._run import DIST, ROOT, Failed, epoch, run, stage, version

PACKAGE, IMAGE = DIST / "package.cdx.json", DIST / "image.cdx.json"
NOTES = "var/lib/dpkg/status.d/"  # one file a Debian package, as scanners know it from distroless
APPLICATION = "opt/watchkeeper/"
DEVELOPMENT = {"pytest", "ruff", "mypy", "hypothesis"}  # a bill that lists these is wrong


def of_package() -> str:
    """Return the bill of an environment with the locked requirements and our wheel."""
    with tempfile.TemporaryDirectory(prefix="watchkeeper-sbom-") as folder:
        python = Path(folder) / "bin" / "python"
        run("uv", "venv", "--quiet", "--clear", folder)
        install = ("uv", "pip", "install", "--quiet", "--python", python, "--no-deps")
        run(*install, "--require-hashes", "-r", ROOT / "requirements.lock")
        run(*install, "--no-cache", "--no-index", "--find-links", DIST, f"watchkeeper=={version()}")
        return run(
            *("cyclonedx-py", "environment", "--pyproject", ROOT / "pyproject.toml"),
            *("--mc-type", "application", "--output-reproducible", "--sv", "1.6", "--of", "JSON"),
            python,
            env={"SOURCE_DATE_EPOCH": epoch()},
        )


def of_image(layout: Path, digest: str) -> str:
    """Return the bill of an image in an OCI layout."""
    components = [_component(kind, about) for kind, about in _installed(layout)]
    subject = Component(
        name="watchkeeper",
        version=version(),
        type=ComponentType.CONTAINER,
        purl=PackageURL("oci", name="watchkeeper", version=digest),
    )
    bill = Bom(
        components=components,
        serial_number=uuid.uuid5(uuid.NAMESPACE_URL, digest),
        metadata=BomMetaData(
            component=subject, timestamp=datetime.fromtimestamp(int(epoch()), tz=UTC)
        ),
    )
    bill.register_dependency(subject, components)
    return JsonV1Dot6(bill).output_as_string(indent=2) + "\n"


def check(bill: str) -> list[str]:
    """Return the names of what a bill lists.

    :raises Failed: it is not valid, lists nothing, or lists what only developers have.
    """
    wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill)
    if wrong is not None:
        raise Failed(f"not a valid CycloneDX 1.6 document: {wrong}")
    names = [component["name"] for component in json.loads(bill).get("components", [])]
    if not {"numpy", "apsw"} <= set(names):
        raise Failed(f"the bill lists {len(names)} components, and not what we depend on")
    if found := DEVELOPMENT & set(names):
        raise Failed(f"the bill lists what only developers have: {', '.join(sorted(found))}")
    return names


def _installed(layout: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield what each Debian and Python package in an image says of itself, in order."""
    for layer in _layers(layout):
        with tarfile.open(layer) as files:
            for member in sorted(files.getmembers(), key=lambda member: member.name):
                name = member.name.removeprefix("./")
                debian = name.startswith(NOTES)
                python = name.startswith(APPLICATION) and name.endswith(".dist-info/METADATA")
                if not member.isfile() or not (debian or python):
                    continue
                content = files.extractfile(member)
                assert content is not None
                said = email.message_from_bytes(content.read())
                yield "deb" if debian else "pypi", dict(said.items())


def _layers(layout: Path) -> list[Path]:
    def blob(digest: str) -> Path:
        return layout / "blobs" / Path(*digest.split(":"))

    index = json.loads((layout / "index.json").read_text(encoding="utf-8"))
    manifest = json.loads(blob(index["manifests"][0]["digest"]).read_text(encoding="utf-8"))
    return [blob(layer["digest"]) for layer in manifest["layers"]]


def _component(kind: str, about: dict[str, str]) -> Component:
    names = ("Package", "Version") if kind == "deb" else ("Name", "Version")
    name, number = (about[field] for field in names)
    if kind == "deb":
        qualifiers = {"arch": about["Architecture"], "distro": "debian-13"}
        purl = PackageURL("deb", "debian", name, number, qualifiers)
    else:
        purl = PackageURL("pypi", None, name.lower().replace("_", "-"), number)
    return Component(name=name, version=number, purl=purl, bom_ref=purl.to_string())


def main() -> None:
    """Write and check both bills."""
    digest = (DIST / "image.digest").read_text(encoding="utf-8").strip()
    for path, bill in ((PACKAGE, of_package()), (IMAGE, of_image(DIST / "image", digest))):
        names = check(bill)
        path.write_text(bill, encoding="utf-8")
        print(f"{path.name}: valid, {len(names)} components")


if __name__ == "__main__":
    stage(main)
