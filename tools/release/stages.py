"""Where each stage's registries are, and with which account one writes there.

The file named by STAGES is JSON, one object a stage, `dev`, `staging` and `prod`:

    image          host:port/name in an image registry
    index          a package index that `devpi` speaks to
    account        who writes there
    password_file  that account's password, in a file only its owner reads
"""

from __future__ import annotations

import base64
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.release._run import Failed

STAGES = "STAGES"
ORDER = ("dev", "staging", "prod")


@dataclass(frozen=True)
class Stage:
    """One stage's registries."""

    name: str
    image: str
    index: str
    account: str
    password_file: str

    @property
    def password(self) -> str:
        """The account's password.

        :raises Failed: others than its owner can read the file.
        """
        path = Path(self.password_file)
        if path.stat().st_mode & 0o077:
            raise Failed(f"{path} can be read by others; chmod 600 it")
        return path.read_text(encoding="utf-8").strip()


def stages() -> dict[str, Stage]:
    """Return the stages that the environment names.

    :raises Failed: it names none, or the file is not what it should be.
    """
    path = os.environ.get(STAGES)
    if not path:
        raise Failed(f"{STAGES} names no file that says where the stages are; see docs/release.md")
    try:
        said = json.loads(Path(path).read_text(encoding="utf-8"))
        return {name: Stage(name, **said[name]) for name in ORDER}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Failed(f"{path}: {error}") from None


@contextmanager
def credentials(*of: Stage) -> Iterator[Path]:
    """Give a folder with the `config.json` that skopeo, cosign and oras log in with."""
    with tempfile.TemporaryDirectory(prefix="watchkeeper-login-") as name:
        folder = Path(name)
        auths = {
            one.image.split("/")[0]: {
                "auth": base64.b64encode(f"{one.account}:{one.password}".encode()).decode()
            }
            for one in of
        }
        config = folder / "config.json"
        config.touch(mode=0o600)
        config.write_text(json.dumps({"auths": auths}), encoding="utf-8")
        yield folder
