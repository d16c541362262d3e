"""Prove that the audit tells its three outcomes apart, against an advisory service on loopback.

    python -m tools.release.advisories      `make audit` runs it first

The service speaks OSV's query protocol and knows one made-up advisory. It is asked through the real
pip-audit, so what is proven is what runs: an advisory stands, an exception holds it, the exception
expires; nothing stands; and nobody answers.
"""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tools.release._run import Failed, stage
from tools.release.audit import Verdict, audit

ADVISORY, PACKAGE = "WK-TEST-2026-1", "left-pad"
LOCK = "".join(
    f"{pinned} \\\n    --hash=sha256:{'0' * 64}\n"
    for pinned in (f"{PACKAGE}==1.0", "harmless==2.0")
)


class _Osv(BaseHTTPRequestHandler):
    """Answers `POST /v1/query` as OSV does, and every other path as if it were broken."""

    def do_POST(self) -> None:
        """Tell of the one advisory."""
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path != "/v1/query":
            self.send_error(503)
            return
        name = json.loads(body)["package"]["name"]
        known = {"vulns": [_advisory()]} if name == PACKAGE else {}
        answer = json.dumps(known).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def _advisory() -> dict[str, Any]:
    return {
        "id": ADVISORY,
        "aliases": ["CVE-2026-0001"],
        "summary": "made up",
        "modified": "2026-01-01T00:00:00Z",
        "affected": [
            {
                "package": {"name": PACKAGE, "ecosystem": "PyPI"},
                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}],
                "versions": ["1.0"],
            }
        ],
    }


@contextmanager
def service() -> Iterator[str]:
    """Serve on loopback; give the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Osv)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def _expect(what: str, verdict: Verdict, outcome: str) -> None:
    if verdict.outcome != outcome:
        raise Failed(f"{what}: {verdict.outcome}, not {outcome}: {'; '.join(verdict.why)}")
    print(f"as it must be, {outcome}: {what}")


def _exception(expires: date) -> dict[str, Any]:
    return {
        "id": "CVE-2026-0001",
        "package": PACKAGE,
        "reason": "a test",
        "owner": "the release tools",
        "expires": expires,
        "status": "not_affected",
    }


def main() -> None:
    """Ask in every way that has an outcome of its own."""
    today = datetime.now(tz=UTC).date()
    with tempfile.TemporaryDirectory(prefix="watchkeeper-audit-") as name, service() as at:
        lock, harmless = Path(name) / "bad.lock", Path(name) / "good.lock"
        lock.write_text(LOCK, encoding="utf-8")
        harmless.write_text(LOCK[LOCK.index("harmless") :], encoding="utf-8")
        osv = ("-s", "osv", "--osv-url", f"{at}/v1/query")
        broken = ("-s", "osv", "--osv-url", f"{at}/broken")
        holds = {"exception": [_exception(today + timedelta(days=30))]}
        expired = {"exception": [_exception(today - timedelta(days=1))]}
        _expect("nothing is known against it", audit(harmless, {}, today, osv), "clean")
        _expect("an advisory stands", audit(lock, {}, today, osv), "vulnerable")
        _expect("an exception holds it", audit(lock, holds, today, osv), "clean")
        _expect("the exception has expired", audit(lock, expired, today, osv), "vulnerable")
        _expect("an exception for nothing", audit(harmless, holds, today, osv), "vulnerable")
        _expect("nobody answers", audit(lock, {}, today, broken), "unavailable")


if __name__ == "__main__":
    stage(main)
