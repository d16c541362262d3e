"""A house that knows people and programs, without the rest of a house; and how to ask it."""

import socket
from collections.abc import Mapping

import anyio
import httpx
from tests.test_http import FLEET, House

from watchkeeper import config
from watchkeeper.access import ROLES, Role
from watchkeeper.access.accounts import Accounts
from watchkeeper.access.audit import Audit
from watchkeeper.access.desk import Desk
from watchkeeper.access.doorkeeper import Doorkeeper
from watchkeeper.access.settings import Access
from watchkeeper.errors import Overloaded
from watchkeeper.http import app, server
from watchkeeper.journal import sqlite as journals
from watchkeeper.ledger.sqlite import Sqlite
from watchkeeper.model import Millis

NOW = 1_800_000_000_000
PASSWORD = "correct horse battery staple"


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self, now=NOW):
        self.now = now

    def __call__(self):
        return Millis(self.now)


class Furnished(House):
    """A page over a real ledger and journal."""

    def __init__(self, ledger, journal, clock):
        self.ledger, self.journal, self.now = ledger, journal, clock
        self.fleet_now, self.is_ready = FLEET, (True, "ready")
        self.rulebook = config.default().rules
        self.said = {
            "tick": 1,
            "sources": {"host": "ok", "edge": "refused"},
            "targets": {"edge": [{"name": "10.0.0.1", "state": "open", "failures": 5}]},
        }
        self.said["targets"]["edge"][0] |= {"error": "", "succeeded": None, "duration": 0.0}
        self.said |= {
            "version": "0", "rulebook": self.rulebook.digest,
            "journal": {"head": 0, "first": 1, "retention": "ok"},
            "watermark": None, "entities": 0, "waiting": {"items": 0, "bytes": 0}, "requests": {},
            "counts": dict.fromkeys(("accepted", "scored", "duplicate", "late"), 0),
            "traffic": dict.fromkeys(("offered", "accepted", "rejected", "shed"), 0),
        }  # fmt: skip

    def findings(self):
        return self.fleet_now

    def flags(self):
        return [{"flag": "source.scrape", "on": False, "said_by": "default"}]

    def replay(self, reason, actor):
        if reason == "malformed":
            raise Overloaded("stopping", retry_after=2)
        self.replayed = (reason, actor)
        return 5, 3

    def flip(self, name, on, actor, reason):
        raise KeyError(name)


class Site:
    """Accounts, ledger and doorkeeper in a folder, and the application over them."""

    def __init__(self, folder, settings=None, *, local=True, view=None, openid=None, doors=()):
        self.clock = Clock()
        self.ledger = Sqlite(path=folder / "ledger.sqlite").open()
        self.accounts = Accounts(folder)
        self.audit = Audit(self.accounts, self.ledger)
        self.keeper = Doorkeeper(
            settings or Access(), self.accounts, self.audit, self.clock, local=local, openid=openid
        )
        self.desk = Desk(self.accounts, "local:test", "command line")
        self.journal = journals.Sqlite(path=folder / "journal.sqlite").open()
        self.view = view or Furnished(self.ledger, self.journal, self.clock)
        self.app = app(self.view, ["testserver"], doors, self.keeper)
        self.tokens: Mapping[Role, str] = {}
        self.closers = []

    def token(self, role, name="", life=None):
        """Make a token; return its id and text."""
        token, text = self.desk.create_token(
            name or f"a-{role}", Role(role), "test", self.clock(), life
        )
        return token.id, text

    def of_each_role(self):
        """Return a token of each role."""
        if not self.tokens:
            self.tokens = {role: self.token(role)[1] for role in ROLES}
        return self.tokens

    def ask(self, path, method="GET", token="", headers=(), **how):
        """Ask the application; return the answer."""

        async def go():
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            url = how.pop("base_url", "http://localhost")
            async with httpx.AsyncClient(transport=transport, base_url=url) as client:
                mine = {"Authorization": f"Bearer {token}"} if token else {}
                return await client.request(method, path, headers={**mine, **dict(headers)}, **how)

        return anyio.run(go)

    def sign_in(self, name="ann", password=PASSWORD, **how):
        """Sign in; return the answer."""
        headers = {"Origin": how.pop("origin", "http://localhost"), **how.pop("headers", {})}
        form = {"name": name, "password": password, **how.pop("form", {})}
        return self.ask("/sign-in", "POST", headers=headers, data=form, **how)

    def signed_in(self, name="ann", role="operator"):
        """Add somebody who is signed in; return the headers of his browser's unsafe requests."""
        if name not in self.accounts.book().people:
            self.desk.add_person(name, Role(role), PASSWORD, self.clock())
        answer = self.sign_in(name)
        assert answer.status_code == 303, answer.text
        cookie = answer.headers["set-cookie"].split(";")[0]
        session = self.keeper._sessions.find(cookie.partition("=")[2], self.clock())
        return {"Cookie": cookie, "X-CSRF-Token": session.csrf, "Origin": "http://localhost"}

    def serve(self, tls=None):
        """Serve on a port of loopback; return the port."""
        listening = socket.create_server(("127.0.0.1", 0))
        self.closers.append(server.serve(self.app, listening, tls))
        return listening.getsockname()[1]

    def events(self, **wanted):
        """Return what the audit says, newest first: (who, action, outcome)."""
        found = self.accounts.events(1000, **wanted)
        return [(one.who, one.action, one.outcome) for one in found]

    def close(self):
        """Release everything."""
        for close in self.closers:
            close()
        self.accounts.close()
        self.ledger.close()
        self.journal.close()
