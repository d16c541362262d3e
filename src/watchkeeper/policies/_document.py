"""What a policy may say: one YAML document, read strictly, every mistake at once.

A document has one canonical form (`document`), and its SHA-256 (`digest`) is the policy's version:
approvals, held state and every decision name it.
"""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    StringConstraints,
    WithJsonSchema,
    model_serializer,
)

from watchkeeper.model import digest as sha256
from watchkeeper.policies._cel import condition

_UNITS = {"y": 31_536_000_000, "w": 604_800_000, "d": 86_400_000, "h": 3_600_000,
          "m": 60_000, "s": 1_000, "ms": 1}  # fmt: skip
_DURATION = re.compile("".join(rf"(?:(\d{{1,9}}){unit})?" for unit in _UNITS))
FLAG = r"^([A-Za-z0-9][A-Za-z0-9_.-]{0,99})?$"
DURATION_MAX = 10 * _UNITS["y"]


def _millis(value: object) -> int:
    """Read `1h30m` (the grammar of Prometheus' model.ParseDuration) as milliseconds."""
    if value == "0" or (value == 0 and not isinstance(value, bool)):
        return 0
    match = _DURATION.fullmatch(value) if isinstance(value, str) and value else None
    if match is None:
        raise ValueError("a duration is written like 30s, 5m, 1h30m or 1d")
    counts = zip(match.groups(), _UNITS.values(), strict=True)
    total = sum(int(count) * size for count, size in counts if count)
    if total > DURATION_MAX:
        raise ValueError("a duration is at most 10y")
    return total


@functools.lru_cache(maxsize=4096)
def duration_text(millis: int) -> str:
    """Return milliseconds the way they are written in a policy: `1h30m`; `0s` for none."""
    parts = []
    for unit, size in _UNITS.items():
        count, millis = divmod(millis, size)
        if count and unit in ("y", "w"):  # days read better, and mean the same everywhere
            millis += count * size
        elif count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def _condition(text: str) -> str:
    return condition(text).text


Duration = Annotated[
    int,
    BeforeValidator(_millis),
    PlainSerializer(duration_text, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["5m", "1h30m"]}),
]
Condition = Annotated[str, StringConstraints(min_length=1), AfterValidator(_condition)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]
Glob = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class _Strict(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, serialize_by_alias=True
    )


class Match(_Strict):
    """Which entities a policy looks at: those that fit one of `entities` and one of `types`.

    `exclude` wins over both.
    """

    entities: tuple[Glob, ...] = Field(default=("*",), description="globs over `type:name`")
    types: tuple[Name, ...] = Field(default=(), description="entity types; empty means all")
    exclude: tuple[Glob, ...] = Field(default=(), description="globs of entities to leave out")


class Rate(_Strict):
    """At most `acts` acts of one policy in any window."""

    acts: Annotated[int, Field(ge=1, le=1_000_000)] = 20
    window: Duration = _UNITS["h"]


class BlastRadius(_Strict):
    """How many entities one policy may have acted on at once: both hold, and one is allowed."""

    amount: Annotated[int, Field(ge=1)] = 20
    percent: Annotated[float, Field(gt=0, le=100)] = 5.0


class Policy(_Strict):
    """One rule: when it holds for long enough, decide, and behind guards, act."""

    name: Name
    description: str = ""
    match: Match = Match()
    when: Condition = Field(description="a CEL condition")
    hold: Duration = Field(default=0, alias="for", description="how long `when` must hold")
    clear: Condition | None = Field(default=None, description="ends it; default: not `when`")
    keep_firing_for: Duration = Field(default=0, description="how long clear must hold")
    severity: Literal["critical", "error", "warning", "info"] = "warning"
    action: tuple[Name, ...] = Field(default=(), description="names of actions")
    resolve: bool = Field(default=False, description="also send when it is over")
    runbook: str = ""
    mode: Literal["dry_run", "auto"] = "dry_run"
    cooldown: Duration = Field(default=_UNITS["h"], description="between acts on one entity")
    rate: Rate = Rate()
    blast_radius: BlastRadius = BlastRadius()
    coverage_min: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.0, description="do not act on an entity with less coverage"
    )
    flag: Annotated[str, StringConstraints(pattern=FLAG)] = Field(
        default="", description="acts only while this feature flag is on"
    )

    @model_serializer(mode="wrap")
    def _written(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave `flag` out where there is none: policies of before it keep their digests."""
        written: dict[str, Any] = write(self)
        return written if self.flag else {k: v for k, v in written.items() if k != "flag"}

    def matches(self, entity: str) -> bool:
        """Return whether the policy looks at this entity (`type:name`)."""
        kind = entity.partition(":")[0]
        if self.match.types and kind not in self.match.types:
            return False
        if any(_glob(glob).match(entity) for glob in self.match.exclude):
            return False
        return any(_glob(glob).match(entity) for glob in self.match.entities)


@functools.lru_cache(maxsize=4096)
def _glob(pattern: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(pattern))


def read(document: Mapping[str, Any], where: str) -> Policy:
    """Read one policy document; `where` (file:line) names it in the error.

    :raises pydantic.ValidationError: every mistake in it at once; the message of a wrong
        condition says where in the condition, and what to write instead.
    """
    return Policy.model_validate(document, context={"where": where})


def document(policy: Policy) -> dict[str, Any]:
    """Return the whole policy, defaults filled in, such that `read` gives it back."""
    return policy.model_dump(mode="json")


@functools.lru_cache(maxsize=4096)
def digest(policy: Policy) -> str:
    """Return the policy's version: the SHA-256 of its canonical document, in hexadecimal."""
    return sha256(document(policy))
