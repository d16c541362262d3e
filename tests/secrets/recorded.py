"""Secrets managers as their documented APIs answer, on loopback, for their own SDKs to talk to.

None of these managers can be started here (none is a Debian package), so the answers below are
written down from the vendors' references. What speaks to them is the real SDK over real sockets.
"""

import json
import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Asked(NamedTuple):
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


Answer = tuple[int, Mapping[str, str], Any]


@contextmanager
def served(answer: Callable[[Asked], Answer], tls: ssl.SSLContext | None = None):
    """Serve `answer` on a free port; yield the URL and the list of what was asked."""
    asked: list[Asked] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            one = Asked(self.command, self.path, dict(self.headers), self.rfile.read(size))
            asked.append(one)
            status, headers, body = answer(one)
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, text in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, text)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        do_GET = do_POST = do_PUT = handle_one

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        scheme = "http" if tls is None else "https"
        yield f"{scheme}://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Vault:
    """HashiCorp Vault's HTTP API, v1: auth/approle, auth/token, KV version 2."""

    def __init__(self) -> None:
        self.secrets: dict[str, dict[str, str]] = {}
        self.tokens: dict[str, int] = {}  # token -> ttl; 0 lives for ever
        self.role, self.secret_id, self.ttl = "a-role", "its-secret-id", 3600
        self.renewable = True
        self.logins = 0

    def __call__(self, asked: Asked) -> Answer:
        token = asked.headers.get("X-Vault-Token", "")
        body = json.loads(asked.body or b"{}")
        if asked.path == "/v1/auth/approle/login":
            if (body["role_id"], body["secret_id"]) != (self.role, self.secret_id):
                return 400, {}, {"errors": ["invalid role or secret ID"]}
            self.logins += 1
            token = f"s.login-{self.logins}"
            self.tokens[token] = self.ttl
            return 200, {}, {"auth": self.auth(token)}
        if token not in self.tokens:
            return 403, {}, {"errors": ["permission denied"]}
        if asked.path == "/v1/auth/token/lookup-self":
            ttl = self.tokens[token]
            return 200, {}, {"data": {"id": token, "ttl": ttl, "renewable": self.renewable}}
        if asked.path == "/v1/auth/token/renew-self":
            if not self.renewable:
                return 400, {}, {"errors": ["lease is not renewable"]}
            return 200, {}, {"auth": self.auth(token)}
        if asked.path == "/v1/auth/token/revoke-self":
            del self.tokens[token]
            return 204, {}, b""
        name = asked.path.removeprefix("/v1/secret/data/")
        if name not in self.secrets:
            return 404, {}, {"errors": []}
        version = {"created_time": "2026-01-01T00:00:00Z", "destroyed": False, "version": 1}
        return 200, {}, {"data": {"data": self.secrets[name], "metadata": version}}

    def auth(self, token: str) -> dict[str, Any]:
        return {
            "client_token": token,
            "lease_duration": self.tokens[token],
            "renewable": self.renewable,
            "policies": ["default"],
        }


def secrets_manager(secrets: Mapping[str, str]) -> Callable[[Asked], Answer]:
    """AWS Secrets Manager: JSON 1.1, the operation in X-Amz-Target."""

    def answer(asked: Asked) -> Answer:
        assert asked.headers["X-Amz-Target"] == "secretsmanager.GetSecretValue"
        assert asked.headers["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=")
        wanted = json.loads(asked.body)
        if wanted["SecretId"] not in secrets:
            kind = "ResourceNotFoundException"
            said = "Secrets Manager can't find the specified secret."
            return 400, {"x-amzn-ErrorType": kind}, {"__type": kind, "Message": said}
        found = {"Name": wanted["SecretId"], "SecretString": secrets[wanted["SecretId"]]}
        return 200, {"Content-Type": "application/x-amz-json-1.1"}, found

    return answer


def secret_manager(secrets: Mapping[str, str]) -> Callable[[Asked], Answer]:
    """Google Secret Manager v1: GET /v1/{name}:access, the payload in base64."""
    import base64

    def answer(asked: Asked) -> Answer:
        name = asked.path.partition("?")[0].removeprefix("/v1/").removesuffix(":access")
        short = name.split("/")[3]
        if short not in secrets:
            error = {"code": 404, "message": f"Secret [{name}] not found.", "status": "NOT_FOUND"}
            return 404, {}, {"error": error}
        data = base64.b64encode(secrets[short].encode()).decode()
        return 200, {}, {"name": name, "payload": {"data": data}}

    return answer


def key_vault(secrets: Mapping[str, str], tenant: str) -> Callable[[Asked], Answer]:
    """Azure Key Vault 7.x, and the login service of its directory (OpenID, client credentials)."""

    def answer(asked: Asked) -> Answer:
        base = f"https://{asked.headers['Host']}"
        path = asked.path.partition("?")[0]
        if path.endswith("/.well-known/openid-configuration"):
            places = {
                "authorization_endpoint": f"{base}/{tenant}/oauth2/v2.0/authorize",
                "token_endpoint": f"{base}/{tenant}/oauth2/v2.0/token",
                "issuer": f"{base}/{tenant}/v2.0",
            }
            return 200, {}, places
        if path == f"/{tenant}/oauth2/v2.0/token":
            assert b"client_secret=the-application" in asked.body
            return 200, {}, {"token_type": "Bearer", "expires_in": 3599, "access_token": "jwt"}
        if asked.headers.get("Authorization") != "Bearer jwt":
            where = f'Bearer authorization="{base}/{tenant}", resource="https://vault.azure.net"'
            return 401, {"WWW-Authenticate": where}, {"error": {"code": "Unauthorized"}}
        name = path.removeprefix("/secrets/").strip("/")
        if name not in secrets:
            return 404, {}, {"error": {"code": "SecretNotFound", "message": name}}
        found = {"value": secrets[name], "id": f"{base}/secrets/{name}/1", "attributes": {}}
        return 200, {}, found

    return answer
