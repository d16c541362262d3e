"""Everything watchkeeper raises, as one tree.

* WatchkeeperError             WK000
  x ConfigError                WK100  the operator can fix it: a file, a key, a name
    + UnknownKind              WK101  a `type:` names no plug
    + ContractError            WK102  a contract pack cannot be used as written
    + PolicyError              WK103  a policy cannot be used as written
    + SecretError              WK104  a secret cannot be had where it is kept
  x InputError                 WK200  telemetry as a whole cannot be read: file, request
    + UnknownLayout            WK201  columns fit no known layout
    + Truncated                WK202  a compressed or columnar file ends too early
    + NothingToRead            WK203  no file matched, or a file holds no rows
    + Unreadable               WK204  the system refused to open it
  x StoreError                 WK300  the journal or the ledger cannot go on
    + CorruptionError          WK301  bytes on disk are not what was written
    + StoreLocked              WK302  another process owns this data folder
    + StoreFull                WK303  no space, or the reserve is reached
    + StoreVersion             WK304  the store was written by another schema version
    + BackupError              WK305  a backup is not what was written, or is none
    + Unfinished               WK306  a command that changes the whole folder was cut off
    + Removed                  WK307  older than what retention keeps of the journal
  x VerifyError                WK400  the ledger does not follow from the journal
  x ActionError                WK500
    + ActionRetry              WK501  try the same order again later
    + ActionRefused            WK502  never try this order again
  x OutputError                WK600  results cannot be written where asked
  x RequestError               WK700  a request that pushes telemetry is not taken in
    + Malformed                WK701  its body is not what the protocol says
    + Unsupported              WK702  an encoding, a content type or a version we do not speak
    + TooLarge                 WK703  more bytes, series or nesting than one request may have
    + OverQuota                WK704  the tenant sends more than it is allowed to
    + Overloaded               WK705  not now; the same request will be taken later
  x AccessError                WK800  an account, a token or a session is not as it must be
    + Unauthenticated          WK801  nobody we know: no credential, or one that does not hold
    + Forbidden                WK802  somebody we know, to whom this is not granted
    + TooManyFailures          WK803  wrong too often; not tried for a while
  x Unreachable                WK900  the server that a command speaks to does not answer

A programmer's mistake is an AssertionError and is never caught. A single bad sample is not an
error: it goes to quarantine with a reason (see `contracts`). `docs/errors.md` has an entry for
every code; a test compares the two.
"""

from __future__ import annotations

from typing import ClassVar


class WatchkeeperError(Exception):
    """Base of the tree.

    :param message: what was wrong, and where (file:line, series, request).
    :param hint: what the operator can do next.
    """

    code: ClassVar[str] = "WK000"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        """Return `CODE message (hint)`, ready for a terminal."""
        text = f"{self.code} {self.args[0]}"
        return f"{text} ({self.hint})" if self.hint else text


class ConfigError(WatchkeeperError):
    """The configuration cannot be used as written."""

    code = "WK100"


class UnknownKind(ConfigError):
    """A `type:` in the configuration names no plug."""

    code = "WK101"


class ContractError(ConfigError):
    """A contract pack cannot be used as written."""

    code = "WK102"


class PolicyError(ConfigError):
    """A policy cannot be used as written."""

    code = "WK103"


class SecretError(ConfigError):
    """A secret cannot be had where it is kept."""

    code = "WK104"


class InputError(WatchkeeperError):
    """Telemetry as a whole cannot be read."""

    code = "WK200"


class UnknownLayout(InputError):
    """The columns fit no known layout."""

    code = "WK201"


class Truncated(InputError):
    """A compressed or columnar file ends too early."""

    code = "WK202"


class NothingToRead(InputError):
    """No file matched, or a file holds no rows."""

    code = "WK203"


class Unreadable(InputError):
    """The system refused to open it."""

    code = "WK204"


class StoreError(WatchkeeperError):
    """The journal or the ledger cannot go on."""

    code = "WK300"


class CorruptionError(StoreError):
    """Stored bytes are not what was written."""

    code = "WK301"


class StoreLocked(StoreError):
    """Another process owns this data folder."""

    code = "WK302"


class StoreFull(StoreError):
    """There is no space left, or the reserve is reached."""

    code = "WK303"


class StoreVersion(StoreError):
    """The store was written by another schema version."""

    code = "WK304"


class BackupError(StoreError):
    """A backup is not what was written, or is none."""

    code = "WK305"


class Unfinished(StoreError):
    """A command that changes the whole data folder was cut off while it put files in place."""

    code = "WK306"


class Removed(StoreError):
    """What was asked for is older than what retention keeps of the journal."""

    code = "WK307"


class VerifyError(WatchkeeperError):
    """The ledger does not follow from the journal."""

    code = "WK400"


class ActionError(WatchkeeperError):
    """An order was not carried out."""

    code = "WK500"


class ActionRetry(ActionError):
    """The order may succeed later."""

    code = "WK501"


class ActionRefused(ActionError):
    """The order can never succeed."""

    code = "WK502"


class OutputError(WatchkeeperError):
    """Results cannot be written where asked."""

    code = "WK600"


class RequestError(WatchkeeperError):
    """A request that pushes telemetry is not taken in; nothing of it was stored.

    :param retry_after: seconds after which the same request may succeed; None: it never will.
    """

    code = "WK700"

    def __init__(self, message: str, *, hint: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class Malformed(RequestError):
    """The body is not what the protocol says."""

    code = "WK701"


class Unsupported(RequestError):
    """An encoding, a content type or a version we do not speak."""

    code = "WK702"


class TooLarge(RequestError):
    """More bytes, series or nesting than one request may have."""

    code = "WK703"


class OverQuota(RequestError):
    """The tenant sends more than it is allowed to."""

    code = "WK704"


class Overloaded(RequestError):
    """Not now; the same request will be taken later."""

    code = "WK705"


class AccessError(WatchkeeperError):
    """An account, a token or a session is not as it must be."""

    code = "WK800"


class Unauthenticated(AccessError):
    """Nobody we know: no credential, or one that does not hold."""

    code = "WK801"


class Forbidden(AccessError):
    """Somebody we know, to whom this is not granted."""

    code = "WK802"


class TooManyFailures(AccessError):
    """Wrong too often; nothing is tried for a while.

    :param retry_after: seconds after which it is.
    """

    code = "WK803"

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unreachable(WatchkeeperError):
    """The server that a command speaks to does not answer."""

    code = "WK900"
