"""A bundle for whoever helps: how things are, without telemetry and without secrets."""

from __future__ import annotations

import io
import os
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path

from watchkeeper.secret import SHOWN
from watchkeeper.store.placed import placed

LOG_BYTES = 1 << 20  # of the end of the log
WORDS = r"authorization|bearer|basic|token|password|passwd|secret|api[_-]?key|credential|community"
HIDDEN = (
    (re.compile(r"\bwk_[a-z0-9]+_[a-z0-9]+_[\w-]+"), SHOWN),  # our own tokens
    (re.compile(r"(://)[^/\s@\"']+@"), rf"\1{SHOWN}@"),
    (
        re.compile(
            rf"(?i)((?:{WORDS})[\w-]*[\"']?\s*[:=]\s*[\"']?(?:(?:bearer|basic|token)\s+)?)"
            r"(?!<secret>)[^\s\"'&,;}]+"
        ),
        rf"\1{SHOWN}",
    ),
    (re.compile(r"(?i)\b(bearer|basic)\s+(?!<secret>)[\w.~+/=-]{6,}"), rf"\1 {SHOWN}"),
    (
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*KEY-----|\Z)", re.S),
        SHOWN,
    ),
)


def hidden(text: str, known: tuple[str, ...] = ()) -> str:
    """Return a text in which nothing that looks like a secret is left.

    The house writes none into its log; what others say in an error may hold one.

    :param known: texts that are secrets, whatever they look like.
    """
    for one in known:
        text = text.replace(one, SHOWN)
    for pattern, shown in HIDDEN:
        text = pattern.sub(shown, text)
    return text


def end_of(log: Path) -> str:
    """Return the last lines of a log, whole ones.

    :raises OSError: it cannot be read.
    """
    with log.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(max(size - LOG_BYTES, 0))
        text = file.read().decode(errors="replace")
    return text if size <= LOG_BYTES else text.partition("\n")[2]


def write(out: Path, parts: Mapping[str, str], known: tuple[str, ...] = ()) -> list[str]:
    """Write the bundle, readable by its owner only; return the names in it.

    :param parts: text by name. :raises OutputError: it cannot be written there.
    """
    with placed(out) as file:
        with tarfile.open(fileobj=file, mode="w:gz", format=tarfile.USTAR_FORMAT) as tar:
            for name, text in sorted(parts.items()):
                body = hidden(text, known).encode()
                member = tarfile.TarInfo(f"support/{name}")
                member.size, member.mode = len(body), 0o600
                tar.addfile(member, io.BytesIO(body))
        os.fchmod(file.fileno(), 0o600)
    return sorted(parts)
