"""Do everything that a release does, with a key and registries that live as long as this run.

    make rehearse        after all other stages, whose evidence it needs; CI runs it

Sign, verify, prove that verification refuses what it must, publish to dev, promote to staging and
to production, prove that the wrong account and the wrong order are refused, roll back, and run the
image that production names: read-only, without capabilities, as uid 65532, until it reports this
host's health, and ends on SIGTERM.

Before production stands the gate of a real promotion, with the evidence of this very run. Two
things may be waived for it, until tomorrow, and are printed: that production was reached and run,
which is what is rehearsed, and the audit, on a machine that reaches no advisory service.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.evidence import collect
from tools.evidence.facts import note
from tools.evidence.lines import FLOOR
from tools.release import promote, provenance, publish, sign, verify
from tools.release._run import DIST, Failed, commit, run, stage, version
from tools.release.ready import EVIDENCE, Gate, waive_today
from tools.release.registries import registries
from tools.release.running import run_hardened
from tools.release.stages import ORDER, Stage, credentials, stages

FACTS = ("signatures", "refusals", "published", "promoted", "production", "container")


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


def _waived() -> dict[tuple[str, str], str]:
    """Return what cannot be asked here: the audit, where nobody answers."""
    outcome = json.loads((DIST / "audit.json").read_text(encoding="utf-8"))["outcome"]
    reason = "no advisory service answers this machine; a release asks again, and stops"
    return {("SEC2", "audit"): reason} if outcome == "unavailable" else {}


def _to_production(before: Stage, to: Stage) -> str:
    """Promote to production through its gate; return the image there."""
    waived, file = _waived(), EVIDENCE / "waivers.yaml"
    reason = "production is what this rehearsal leads to"
    first = dict.fromkeys([("RE4", "production"), ("DOC1", "container")], reason)
    collect.write()
    gate = Gate(waivers=waive_today(file, waived | first), least=FLOOR)
    _not_ready(before, to)
    image = promote.promote(before, to, version(), sign.PUBLIC, commit(), gate)
    waive_today(file, waived)
    return image


def _not_ready(before: Stage, to: Stage) -> None:
    """Try to promote to production without any evidence."""
    with tempfile.TemporaryDirectory(prefix="watchkeeper-nothing-") as name:
        (Path(name) / "none.jsonl").touch()
        try:
            promote.promote(before, to, version(), sign.PUBLIC, commit(), Gate(Path(name)))
        except Failed as refused:
            if "readiness 0 %" not in str(refused):
                raise
            print("refused, as it must be: promotion to prod without evidence: readiness 0 %")
            return
    raise Failed("ACCEPTED: promotion to prod without evidence")


def main() -> None:
    """Rehearse a release."""
    for fact in FACTS:  # what an earlier rehearsal saw does not count for this one
        note(fact, None)
    with tempfile.TemporaryDirectory(prefix="watchkeeper-rehearsal-") as name:
        folder = Path(name)
        _own_key(folder)
        provenance.main()
        sign.main()
        note("signatures", files=str(verify.verify(DIST, sign.PUBLIC, commit())))
        verified = verify.prove(sign.PUBLIC)
        note("refusals", damages=str(len(verified)))
        print("\n".join(f"refused, as it must be: {line[:160]}" for line in verified))
        with registries(folder / "registries") as env:
            os.environ.update(env)
            publish.main()
            note("published")
            _as_builder()
            _refused("dev straight to prod", "tools.release.promote", "--from=dev", "--to=prod")
            known = stages()
            dev, staging, prod = (known[name] for name in ORDER)
            image = promote.promote(dev, staging, version(), sign.PUBLIC, commit())
            note("promoted", image=image.split("@")[1])
            print(f"promoted from dev to staging: {image}")
            print(f"promoted from staging to prod: {_to_production(staging, prod)}")
            with credentials(prod) as login:
                image = promote.verified(prod, version(), sign.PUBLIC, commit(), login)
                promote.point(prod, image, login)
                print(f"rolled back, to the version that was there: {image}")
                note("production", image=image.split("@")[1])
                run_hardened(f"{prod.image}:{promote.CURRENT}", image, login, folder)
                note("container")


if __name__ == "__main__":
    stage(main)
