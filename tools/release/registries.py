"""Real registries on loopback, with TLS and accounts: where CI publishes to and promotes through.

    python -m tools.release.registries FOLDER -- COMMAND …    run a command beside them

One image registry a stage, so that who may push to production is a matter of its own password; one
package index (devpi) with an index a stage, whose access list names who may upload. COMMAND finds
in its environment: STAGES (where each stage is, see `stages.py`) and SSL_CERT_FILE (whom to trust).
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from ssl import create_default_context

from tools.release._run import Failed, run, stage
from tools.release.stages import STAGES

PATIENCE = 120.0  # seconds in which a server must answer
HOST = "127.0.0.1"
# Who may write where: the machine that builds, to dev; people who release, to the others.
ACCOUNTS = {"dev": "builder", "staging": "releaser", "prod": "releaser"}

REGISTRY = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder}/{name}}}}}
http:
  addr: {host}:{port}
  tls: {{certificate: {folder}/server.pem, key: {folder}/server.key}}
auth: {{htpasswd: {{realm: {name}, path: {folder}/{name}.htpasswd}}}}
"""
TUNNEL = """\
foreground = yes
pid =
[index]
accept = {host}:{port}
connect = {host}:{behind}
cert = {folder}/server.pem
key = {folder}/server.key
"""


@contextmanager
def registries(folder: Path) -> Iterator[dict[str, str]]:
    """Start them all below `folder`; give the environment of those who use them.

    :raises Failed: one does not come up.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _certificates(folder)
    trust = {"SSL_CERT_FILE": str(folder / "ca.pem"), "REQUESTS_CA_BUNDLE": str(folder / "ca.pem")}
    with ExitStack() as running:
        passwords = {who: secrets.token_hex(18) for who in sorted(set(ACCOUNTS.values()))}
        for who, password in passwords.items():
            _secret(folder / f"{who}.password", password)
        stages = {}
        index = running.enter_context(_index(folder, trust, passwords))
        for name, who in ACCOUNTS.items():
            at = running.enter_context(_registry(folder, name, who, passwords[who]))
            stages[name] = {
                "image": f"{at}/watchkeeper",
                "index": f"{index}/{who}/{name}",
                "account": who,
                "password_file": str(folder / f"{who}.password"),
            }
        (folder / "stages.json").write_text(json.dumps(stages, indent=2), encoding="utf-8")
        yield {**trust, STAGES: str(folder / "stages.json")}


def _certificates(folder: Path) -> None:
    subject = ("-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "7")
    authority = ("-keyout", folder / "ca.key", "-out", folder / "ca.pem", "-subj", "/CN=rehearsal")
    run("openssl", "req", "-x509", *subject, *authority)
    request = ("-keyout", folder / "server.key", "-out", folder / "server.csr")
    run("openssl", "req", *subject[:-2], *request, "-subj", f"/CN={HOST}")
    (folder / "names").write_text(f"subjectAltName=IP:{HOST}\n", encoding="utf-8")
    signed = (
        "-CA",
        folder / "ca.pem",
        "-CAkey",
        folder / "ca.key",
        "-CAcreateserial",
        "-days",
        "7",
    )
    files = ("-in", folder / "server.csr", "-out", folder / "server.pem")
    run("openssl", "x509", "-req", *files, *signed, "-extfile", folder / "names")


@contextmanager
def _registry(folder: Path, name: str, who: str, password: str) -> Iterator[str]:
    """Run one image registry into which only `who` may push; give its host and port."""
    port = _free_port()
    line = run("htpasswd", "-Bbn", who, password)
    (folder / f"{name}.htpasswd").write_text(line, encoding="utf-8")
    configuration = folder / f"{name}.yaml"
    configuration.write_text(REGISTRY.format(folder=folder, name=name, host=HOST, port=port))
    with _server(folder, name, "docker-registry", "serve", configuration):
        _answers(folder, name, f"https://{HOST}:{port}/v2/", 401)
        yield f"{HOST}:{port}"


@contextmanager
def _index(folder: Path, trust: dict[str, str], passwords: dict[str, str]) -> Iterator[str]:
    """Run a package index behind TLS, with an account and an index a stage; give its address."""
    behind, port = _free_port(), _free_port()
    at, root = f"https://{HOST}:{port}", secrets.token_hex(18)
    data = folder / "index"
    run("devpi-init", "--serverdir", data, "--no-root-pypi", "--root-passwd", root)
    options = ("--host", HOST, "--port", str(behind), "--offline-mode", "--outside-url", at)
    tunnel = folder / "tunnel.conf"
    tunnel.write_text(TUNNEL.format(folder=folder, host=HOST, port=port, behind=behind))
    with (
        _server(folder, "index", "devpi-server", "--serverdir", data, *options),
        _server(folder, "tunnel", "stunnel4", tunnel),
    ):
        _answers(folder, "index", f"{at}/+api", 200)

        def devpi(*words: str) -> None:
            run("devpi", *words, "--clientdir", folder / "devpi", env=trust)

        devpi("use", at)
        devpi("login", "root", f"--password={root}")
        for who, password in passwords.items():
            devpi("user", "-c", who, f"password={password}")
        for name, who in ACCOUNTS.items():
            devpi("index", "-c", f"{who}/{name}", "bases=", "volatile=False", f"acl_upload={who}")
        yield at


@contextmanager
def _server(folder: Path, name: str, *command: str | Path) -> Iterator[None]:
    with (folder / f"{name}.log").open("wb") as log:
        words = [str(word) for word in command]
        process = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _answers(folder: Path, name: str, url: str, status: int) -> None:
    """Wait until a server answers with the status that it has for strangers."""
    context = create_default_context(cafile=str(folder / "ca.pem"))
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(url, context=context, timeout=5) as answer:
                found = answer.status
        except urllib.error.HTTPError as error:
            found = error.code
        except OSError:
            time.sleep(0.2)
            continue
        if found == status:
            return
        raise Failed(f"{name}: {url} answered {found} to a stranger, not {status}")
    log = (folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")
    raise Failed(f"{name} does not answer at {url}:\n{log[-2_000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _secret(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")


def main() -> None:
    """Run a command beside the registries; end with its exit code."""
    arguments: Sequence[str] = sys.argv[1:]
    if len(arguments) < 3 or arguments[1] != "--":
        sys.exit("usage: python -m tools.release.registries FOLDER -- COMMAND …")
    with registries(Path(arguments[0]).absolute()) as env:
        code = subprocess.run(arguments[2:], env={**os.environ, **env}, check=False).returncode
    sys.exit(code)


if __name__ == "__main__":
    stage(main)
