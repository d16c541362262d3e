"""Look for known vulnerabilities in what we ship; say honestly when nobody could be asked.

    make audit                     a change: `unavailable` is a loud warning
    make audit RELEASE=1           a release: `unavailable` stops it

pip-audit alone fails open: a package about which its service says nothing is skipped, and "no known
vulnerabilities" is printed all the same. Here the outcome is one of three words:

    clean         every locked package was looked up, and nothing stands that is not excepted; what
                  could not be looked up is named, and the policy lives with that for a time
    vulnerable    an advisory stands, or an exception is expired, too long, or for nothing
    unavailable   the service did not answer, or not about every package

Where the index does not tell of single releases, it is asked for each project, which tells of the
newest release: that counts for a package that is locked to it, and says nothing of any other. An
index that knows nothing against a project that is known to be bad is not believed at all.

Policy and exceptions are in security/vulnerabilities.toml; exceptions are written out as OpenVEX to
`dist/watchkeeper.vex.json`. The outcome is kept in `dist/audit.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import tomllib
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from tools.evidence.facts import note
from tools.release._run import DIST, ROOT, Failed, epoch, stage, version

POLICY = ROOT / "security" / "vulnerabilities.toml"
LOCK = ROOT / "requirements.lock"
INDEX = "https://pypi.org/pypi"  # pip-audit asks it about a release; we, about a project
CONTROL = "pycrypto"  # given up in 2013; advisories stand against its newest release
LONGEST = timedelta(days=90)  # that an exception may last
STATUSES = ("not_affected", "affected", "fixed", "under_investigation")


@dataclass
class Verdict:
    """What came of an audit, and why."""

    outcome: str  # clean, vulnerable, unavailable
    looked_up: int = 0
    why: list[str] = field(default_factory=list)


def audit(
    lock: Path, policy: Mapping[str, Any], today: date, service: Sequence[str], index: str = ""
) -> Verdict:
    """Ask about every package of a lock file.

    :param service: pip-audit's words for whom to ask; none for the package index's own service.
    :param index: who is asked about projects of which the service says nothing; nobody when empty.
    """
    answer = _asked(lock, service)
    if isinstance(answer, str):
        return Verdict("unavailable", why=[answer])
    locked = _locked(lock)
    told = {one["name"].lower().replace("_", "-"): one for one in answer}
    silent = [name for name in locked if "vulns" not in told.get(name, {})]
    if silent and index:
        told |= _of_projects({name: locked[name] for name in silent}, index)
        silent = [name for name in locked if "vulns" not in told.get(name, {})]
    found = {
        (name, known["id"], *known.get("aliases", ()))
        for name, one in told.items()
        for known in one.get("vulns", ())
    }
    wrong = judge(found, policy.get("exception", []), today)
    looked_up = len(locked) - len(silent)
    if wrong:
        return Verdict("vulnerable", looked_up, wrong)
    lived_with = {
        one["package"]: f"{one['package']} {one['version']} was not looked up; lived with until"
        f" {one['expires']} ({one['owner']}): {one['reason']}"
        for one in policy.get("unknown", [])
        if one["package"] in silent and locked[one["package"]] == one["version"]
        if today <= one["expires"] <= today + LONGEST
    }
    why = list(lived_with.values())
    silent = [name for name in silent if name not in lived_with]
    if silent:
        why = [f"nothing is known about {len(silent)} of {len(locked)} packages: {_some(silent)}"]
        return Verdict("unavailable", looked_up, why)
    return Verdict("clean", looked_up, why)


def judge(
    found: set[tuple[str, ...]], exceptions: Sequence[Mapping[str, Any]], today: date
) -> list[str]:
    """Return what is wrong: advisories that no exception holds, and exceptions that hold nothing.

    :param found: of each advisory: the package, then every number it goes by.
    """
    wrong, excepted = [], set()
    for one in exceptions:
        names = f"{one.get('package')} {one.get('id')}"
        missing = {"id", "package", "reason", "owner", "expires", "status"} - one.keys()
        if missing:
            wrong.append(f"exception {names} lacks {', '.join(sorted(missing))}")
            continue
        if one["status"] not in STATUSES:
            wrong.append(f"exception {names}: status is one of {', '.join(STATUSES)}")
        if one["expires"] < today:
            wrong.append(f"exception {names} expired on {one['expires']}")
        elif one["expires"] - today > LONGEST:
            wrong.append(f"exception {names} lasts longer than {LONGEST.days} days")
        matches = {f for f in found if f[0] == one["package"] and one["id"] in f[1:]}
        if not matches:
            wrong.append(f"exception {names} matches nothing any more: remove it")
        excepted |= matches
    stand = sorted(found - excepted)
    return wrong + [f"{name}: {' = '.join(numbers)}" for name, *numbers in stand]


def openvex(exceptions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the exceptions as an OpenVEX 0.2.0 document."""
    at = datetime.fromtimestamp(int(epoch()), tz=UTC).isoformat()
    return {
        "@context": "https://openvex.dev/ns/v0.2.0",
        "@id": f"urn:watchkeeper:vex:{version()}",
        "author": "Watchkeeper",
        "timestamp": at,
        "version": 1,
        "statements": [
            {
                "vulnerability": {"name": one["id"]},
                "products": [{"@id": f"pkg:pypi/watchkeeper@{version()}"}],
                "status": one["status"],
                "impact_statement": one["reason"],
            }
            for one in exceptions
        ],
    }


def _asked(lock: Path, service: Sequence[str]) -> list[dict[str, Any]] | str:
    """Return what the service says of each package, or why there is no answer."""
    done = subprocess.run(
        [
            *("pip-audit", "--format", "json", "--progress-spinner", "off", "--disable-pip"),
            *("--require-hashes", "-r", str(lock), *service),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    try:
        answer: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        said = done.stderr.strip().splitlines() or ["no answer"]
        return f"the advisory service could not be asked: {said[-1][:300]}"
    return answer


def _locked(lock: Path) -> dict[str, str]:
    """Return the packages of a lock file that this platform would install, and their versions."""
    from packaging.requirements import Requirement

    lines = re.findall(r"^([A-Za-z0-9][^\\\n]*==[^\\\n]*)", lock.read_text("utf-8"), re.MULTILINE)
    requirements = [Requirement(line.strip()) for line in lines]
    return {
        one.name.lower().replace("_", "-"): str(one.specifier).removeprefix("==")
        for one in sorted(requirements, key=lambda one: one.name.lower())
        if one.marker is None or one.marker.evaluate()
    }


def _of_projects(locked: Mapping[str, str], index: str) -> dict[str, dict[str, Any]]:
    """Return what an index says of each package that is locked to the newest release there is."""
    told: dict[str, dict[str, Any]] = {}
    if not _of_newest(CONTROL, index)[1]:
        return told
    for name, wanted in locked.items():
        newest, vulns = _of_newest(name, index)
        if newest == wanted:
            told[name] = {"name": name, "vulns": vulns}
    return told


def _of_newest(name: str, index: str) -> tuple[str, list[dict[str, Any]]]:
    """Return a project's newest version, and what stands against it; no version: no answer."""
    try:
        with urllib.request.urlopen(f"{index}/{name}/json", timeout=30) as answer:
            told = json.load(answer)
        vulns = [one for one in told["vulnerabilities"] if not one.get("withdrawn")]
        return told["info"]["version"], vulns
    except (OSError, ValueError, LookupError, TypeError):
        return "", []


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")


def main() -> None:
    """Audit our lock; exit with 1 when it may not go on."""
    parser = argparse.ArgumentParser(description="look for known vulnerabilities in what we ship")
    parser.add_argument("--release", action="store_true", default=bool(os.environ.get("RELEASE")))
    parser.add_argument("--lock", type=Path, default=LOCK)
    parser.add_argument("--osv-url", help="ask this OSV service instead of the package index")
    given = parser.parse_args()
    policy = tomllib.loads(POLICY.read_text(encoding="utf-8"))
    service = ("-s", "osv", "--osv-url", given.osv_url) if given.osv_url else ()
    today = datetime.now(tz=UTC).date()
    verdict = audit(given.lock, policy, today, service, "" if given.osv_url else INDEX)
    DIST.mkdir(exist_ok=True)
    kept = {**vars(verdict), "on": today.isoformat()}
    (DIST / "audit.json").write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    holds = {"clean": 1.0, "vulnerable": 0.0}.get(verdict.outcome)  # else nobody could be asked
    note("audit", holds, looked_up=str(verdict.looked_up))
    vex = openvex(policy.get("exception", []))
    (DIST / "watchkeeper.vex.json").write_text(json.dumps(vex, indent=2) + "\n", encoding="utf-8")
    said = "\n  ".join([f"audit: {verdict.outcome}", *verdict.why])
    if verdict.outcome == "vulnerable" or (verdict.outcome == "unavailable" and given.release):
        raise Failed(said)
    print(said if verdict.outcome == "clean" else f"WARNING {said}\n  a release would stop here")


if __name__ == "__main__":
    stage(main)
