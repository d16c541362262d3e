"""Who one is, tokens, and the audit of access."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from watchkeeper.access import Asker, Role, Scope
from watchkeeper.access.accounts import NEWEST, Token
from watchkeeper.access.desk import NAME, Desk
from watchkeeper.access.doorkeeper import Doorkeeper
from watchkeeper.errors import AccessError, Forbidden
from watchkeeper.http._gate import address_of
from watchkeeper.http.answers import body_of, known, limit_of, moment_of, success
from watchkeeper.http.api.fleet import PAGE, listed
from watchkeeper.http.table import Endpoint, Field, Says
from watchkeeper.model import Millis
from watchkeeper.reports._words import rfc3339

DAY = 86_400
LIFE_MAX = 3_650 * DAY
SECONDS = {"type": "integer", "minimum": 0, "maximum": LIFE_MAX}
NEW = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "role"],
    "properties": {
        "name": {"type": "string", "pattern": f"^{NAME.pattern}$"},
        "role": {"enum": [str(role) for role in Role]},
        "expires_in": {"type": ["integer", "null"], "minimum": 1, "maximum": LIFE_MAX},
    },
}
ROTATE = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"grace": SECONDS},
}


def whoami() -> Endpoint:
    """Return the route that says who one is."""
    says = Says("Who asks, and what is granted")
    return Endpoint("GET", "/api/v1/whoami", Scope.PUBLIC, _whoami, says)


def endpoints(keeper: Doorkeeper) -> list[Endpoint]:
    """Return what is asked of accounts."""
    api, admin = _Accounts(keeper), Scope.TOKENS_ADMIN
    id = Field("id", "of the token", {"type": "string", "minLength": 1}, "path")
    only = (
        Field("who", "only what one did, such as person:ann"),
        Field("action", "only one action, such as token.create"),
        Field("outcome", "only one outcome", {"enum": ["done", "allowed", "refused", "denied"]}),
        Field("since", "RFC 3339", {"type": "string", "format": "date-time"}),
    )
    return [
        Endpoint("GET", "/api/v1/tokens", admin, api.tokens, Says(
            "Tokens, without their secrets", (), listed("tokens"))),
        Endpoint("POST", "/api/v1/tokens", admin, api.create, Says(
            "A new token; its text is in this answer only", body=NEW, status=201)),
        Endpoint("POST", "/api/v1/tokens/{id}/rotate", admin, api.rotate, Says(
            "Another secret for a token", (id,), body=ROTATE)),
        Endpoint("DELETE", "/api/v1/tokens/{id}", admin, api.revoke, Says(
            "End a token at once", (id,))),
        Endpoint("GET", "/api/v1/audit", Scope.AUDIT_READ, api.audit, Says(
            "Who did what, and who was refused, newest first", (*only, *PAGE), listed("events"))),
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Accounts:
    keeper: Doorkeeper

    def tokens(self, request: Request) -> Response:
        known(request)
        found = self.keeper.accounts.book().tokens.values()
        now = self.keeper.clock()
        return success(request, {"tokens": [t.facts(now, rfc3339) for t in found], "next": None})

    async def create(self, request: Request) -> Response:
        known(request)
        asked = await body_of(request, {"name": str, "role": str, "expires_in": int})
        if asked.get("role") not in set(Role) or not isinstance(asked.get("name"), str):
            raise HTTPException(400, f"name and role are needed; role: one of {', '.join(Role)}")
        role, seconds = Role(asked["role"]), asked.get("expires_in", 90 * DAY)
        if seconds is not None and not 1 <= seconds <= LIFE_MAX:
            raise HTTPException(400, f"expires_in: seconds, from 1 to {LIFE_MAX}, or null")
        if not self.keeper.grants(request.scope["asker"], role):
            raise Forbidden(f"nobody gives away more than he has, and {role} is more")
        life = None if seconds is None else Millis(seconds * 1000)
        environment = self.keeper.settings.environment
        now = self.keeper.clock()
        token, text = await _apart(
            self._desk(request).create_token, asked["name"], role, environment, now, life
        )
        await _apart(self.keeper.audit.link)
        return success(request, token.facts(now, rfc3339) | {"token": text}, 201)

    async def rotate(self, request: Request) -> Response:
        known(request)
        grace = (await body_of(request, {"grace": int})).get("grace", 0)
        if grace is None or not 0 <= grace <= LIFE_MAX:
            raise HTTPException(400, f"grace: seconds, from 0 to {LIFE_MAX}")
        token = self._token(request)
        now, environment = self.keeper.clock(), self.keeper.settings.environment
        if token.state(now) != "active":
            raise HTTPException(409, f"this token is {token.state(now)}")
        if not self.keeper.grants(request.scope["asker"], token.role):
            raise Forbidden(f"nobody gives away more than he has, and {token.role} is more")
        changed, text = await _apart(
            self._desk(request).rotate_token, token.id, environment, now, Millis(grace * 1000)
        )
        await _apart(self.keeper.audit.link)
        return success(request, changed.facts(now, rfc3339) | {"token": text})

    def revoke(self, request: Request) -> Response:
        known(request)
        now = self.keeper.clock()
        token = self._desk(request).revoke_token(self._token(request).id, now)
        self.keeper.audit.link()
        return success(request, token.facts(now, rfc3339))

    def audit(self, request: Request) -> Response:
        asked = known(request, "who", "action", "outcome", "since", "limit", "after")
        limit, after = limit_of(asked), asked.get("after", str(NEWEST))
        if not (after.isascii() and after.isdigit() and len(after) <= 19 and int(after) <= NEWEST):
            raise HTTPException(400, "after: this is no cursor of ours")
        if asked.get("outcome", "done") not in ("done", "allowed", "refused", "denied"):
            raise HTTPException(400, "outcome: none of done, allowed, refused, denied")
        found = self.keeper.accounts.events(
            limit + 1,
            before=int(after),
            who=asked.get("who", ""),
            action=asked.get("action", ""),
            outcome=asked.get("outcome", ""),
            since=moment_of(asked, "since", Millis(0)),
        )
        data = {
            "events": [one.facts(rfc3339) for one in found[:limit]],
            "next": str(found[limit - 1].number) if len(found) > limit else None,
        }
        return success(request, data)

    def _token(self, request: Request) -> Token:
        id = request.path_params["id"]
        token = self.keeper.accounts.book().tokens.get(id)
        if token is None:
            raise HTTPException(404, f"no token {id!r}")
        return token

    def _desk(self, request: Request) -> Desk:
        asker: Asker = request.scope["asker"]
        return Desk(self.keeper.accounts, asker.name, address_of(request.scope))


def _whoami(request: Request) -> Response:
    known(request)
    asker: Asker = request.scope["asker"]
    told = {
        "name": asker.name,
        "shown": asker.shown or asker.name,
        "role": asker.role or None,
        "scopes": sorted(asker.scopes),
    }
    return success(request, told)


async def _apart(work: Any, *arguments: Any) -> Any:
    """Run on a thread of its own what writes to the disk."""
    from starlette.concurrency import run_in_threadpool

    try:
        return await run_in_threadpool(work, *arguments)
    except AccessError as error:
        if type(error) is AccessError:
            raise HTTPException(400, str(error.args[0])) from None
        raise
