"""Prove the ledger, or a pack of evidence."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from watchkeeper.cli._terminal import Output, emit, progress, stamp


def verify(
    *,
    data: Path = Path("watchkeeper-data"),
    evidence: Path | None = None,
    key: str = "",
    output: Output = "text",
) -> int:
    """Prove that the ledger is whole and follows from the journal; or prove a pack of evidence.

    Checks every link of the audit chain, every table against it and the signed head; then derives
    every step again from the journal and compares. Works beside a running service.

    A pack of evidence (`watchkeeper report --evidence`) is proven from what is in it, anywhere.

    Examples:

      watchkeeper verify
      watchkeeper verify --data /var/lib/watchkeeper --output json
      watchkeeper verify --evidence pack.tar --key 5e0c…

    Parameters
    ----------
    data
        Folder of journal and ledger.
    evidence
        A pack of evidence.
    key
        The public key it must be signed with, as whoever runs that house told it to you.
    output
        text or json.
    """
    from watchkeeper import pipeline
    from watchkeeper.cli._house import stores
    from watchkeeper.config import read_rulebook
    from watchkeeper.engines.local import Local
    from watchkeeper.errors import VerifyError

    if evidence is not None:
        return _pack(evidence, key, output)
    with stores(data) as (journal, ledger), progress("entries") as tell:
        total = journal.head()
        try:
            proof = pipeline.verify(
                journal, ledger, read_rulebook, Local(workers=1),
                lambda offset: tell("verify", offset, total),
            )  # fmt: skip
        except VerifyError as error:
            return _refused(error, output)
        counts = ledger.counts()
    facts = {
        "ok": True,
        "links": proof.links,
        "entries": proof.entries,
        "base": proof.base,
        "steps": proof.steps,
        "not_yet_committed": proof.ahead,
        "samples": {"accepted": counts.accepted, "scored": counts.scored,
                    "duplicate": counts.duplicate, "late": counts.late,
                    "rejected": counts.rejected},
    }  # fmt: skip
    text = (
        f"proven: {proof.links} links hold, and {proof.steps} steps follow from"
        f" {proof.entries} journal entries\n"
        f"samples: {counts.accepted} accepted = {counts.scored} scored + {counts.duplicate}"
        f" duplicate + {counts.late} late; {counts.rejected} in quarantine"
    )
    if proof.base:
        text += (
            f"\nbegins with the state after entry {proof.base}, which the chain names: retention"
            " removed the entries up to there"
        )
    emit(output, facts, text)
    return 0


def _pack(path: Path, key: str, output: Output) -> int:
    from watchkeeper.config import read_rulebook
    from watchkeeper.engines.local import Local
    from watchkeeper.errors import Unreadable, VerifyError
    from watchkeeper.evidence import check

    try:
        with path.open("rb") as file, progress("entries") as tell:
            shown = check(
                file, read_rulebook, Local(workers=1), key,
                lambda offset: tell("verify", offset, None),
            )  # fmt: skip
    except VerifyError as error:
        return _refused(error, output)
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror}", hint="name a pack of evidence") from error
    begins = "the beginning of the journal; nothing else is taken on trust"
    if shown.base is not None:
        begins = f"a state before entry {shown.base + 1}, for which its signer vouches"
    trust = "you named" if key else "the pack names itself: compare it, and pass it with --key"
    text = (
        f"proven: {shown.links} links hold, and {shown.steps} steps with {shown.decisions}"
        f" decisions follow from {shown.entries} journal entries\n"
        f"window {stamp(shown.since)} to {stamp(shown.until)}, made by version {shown.version}\n"
        f"begins {begins}\n"
        f"signed by the key that {trust}\n"
        f"key    {shown.key}"
    )
    emit(output, {"ok": True, "key_given": bool(key), **asdict(shown)}, text)
    return 0


def _refused(error: Exception, output: Output) -> int:
    emit(output, {"ok": False, "error": str(error)}, f"NOT PROVEN  {error}")
    return 1
