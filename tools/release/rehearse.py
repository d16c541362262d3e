"""Do everything that a release does, with a key and registries that live as long as this run.

    make rehearse        after `make package image sbom provenance`; CI runs it

Sign, verify, prove that verification refuses what it must, publish to dev, promote to staging and
to production, prove that the wrong account and the wrong order are refused, roll back, and run the
image that production names: read-only, without capabilities, as uid 65532, until it reports this
host's health, and ends on SIGTERM.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.release import promote, provenance, publish, sign, verify
from tools.release._run import Failed, commit, run, stage, version
from tools.release.registries import registries
from tools.release.running import run_hardened
from tools.release.stages import credentials, stages


def _own_key(folder: Path) -> None:
    """Make a key for this run, as a release has one in its environment."""
    os.environ["COSIGN_PASSWORD"] = os.urandom(16).hex()
    run("cosign", "generate-key-pair", cwd=folder)
    os.environ["COSIGN_PRIVATE_KEY"] = str(folder / "cosign.key")


def _refused(what: str, *command: str) -> None:
    """Run a stage that must fail.

    :raises Failed: it did not.
    """
    words = [sys.executable, "-m", *command]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        raise Failed(f"ACCEPTED: {what}")
    said = (done.stdout + done.stderr).strip().splitlines() or ["no word"]
    print(f"refused, as it must be: {what}: {said[-1][:160]}")


def _as_builder() -> None:
    """Try to promote to staging with the account that may only write to dev."""
    known = stages()
    before, to = known["dev"], known["staging"]
    wrong = type(to)(to.name, to.image, to.index, before.account, before.password_file)
    try:
        promote.promote(before, wrong, version(), sign.PUBLIC, commit())
    except Failed as refused:
        said = str(refused)
        if "UNAUTHORIZED" not in said.upper():
            raise
        print(f"refused, as it must be: promotion to staging by {before.account}: unauthorized")
        return
    raise Failed(f"ACCEPTED: {before.account} promoted to staging")


def main() -> None:
    """Rehearse a release."""
    with tempfile.TemporaryDirectory(prefix="watchkeeper-rehearsal-") as name:
        folder = Path(name)
        _own_key(folder)
        provenance.main()
        sign.main()
        verified = verify.prove(sign.PUBLIC)
        print("\n".join(f"refused, as it must be: {line[:160]}" for line in verified))
        with registries(folder / "registries") as env:
            os.environ.update(env)
            publish.main()
            _as_builder()
            _refused("dev straight to prod", "tools.release.promote", "--from=dev", "--to=prod")
            known = stages()
            for before, to in (("dev", "staging"), ("staging", "prod")):
                image = promote.promote(known[before], known[to], version(), sign.PUBLIC, commit())
                print(f"promoted from {before} to {to}: {image}")
            with credentials(known["prod"]) as login:
                image = promote.verified(known["prod"], version(), sign.PUBLIC, commit(), login)
                promote.point(known["prod"], image, login)
                print(f"rolled back, to the version that was there: {image}")
                run_hardened(f"{known['prod'].image}:{promote.CURRENT}", image, login, folder)


if __name__ == "__main__":
    stage(main)
