"""Prove the ledger."""

from __future__ import annotations

from pathlib import Path

from watchkeeper.cli._terminal import Output, emit, progress


def verify(*, data: Path = Path("watchkeeper-data"), output: Output = "text") -> int:
    """Prove that the ledger is whole and follows from the journal.

    Checks every link of the audit chain, every table against it and the signed head; then derives
    every step again from the journal and compares. Works beside a running service.

    Examples:

      watchkeeper verify
      watchkeeper verify --data /var/lib/watchkeeper --output json

    Parameters
    ----------
    data
        Folder of journal and ledger.
    output
        text or json.
    """
    from watchkeeper import pipeline
    from watchkeeper.cli._house import stores
    from watchkeeper.config import read_rulebook
    from watchkeeper.engines.local import Local
    from watchkeeper.errors import VerifyError

    with stores(data) as (journal, ledger), progress("entries") as tell:
        total = journal.head()
        try:
            proof = pipeline.verify(
                journal, ledger, read_rulebook, Local(workers=1),
                lambda offset: tell("verify", offset, total),
            )  # fmt: skip
        except VerifyError as error:
            emit(output, {"ok": False, "error": str(error)}, f"NOT PROVEN  {error}")
            return 1
        counts = ledger.counts()
    facts = {
        "ok": True,
        "links": proof.links,
        "entries": proof.entries,
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
    emit(output, facts, text)
    return 0
