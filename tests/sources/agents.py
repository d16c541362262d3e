"""Real servers for the collectors, on loopback: started by a test, ended by their number."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import socketserver
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

WAIT = 20.0  # seconds until a server must answer


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def running(command: list[str], ready: Callable[[], bool], **more: object) -> Iterator[int]:
    """Run a server until the block ends; yields its process number."""
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **more
    ) as server:
        try:
            deadline = time.monotonic() + WAIT
            while not ready():
                assert server.poll() is None, f"{command[0]} ended with {server.returncode}"
                assert time.monotonic() < deadline, f"{command[0]} does not answer"
                time.sleep(0.02)
            yield server.pid
        finally:
            server.terminate()
            server.wait(WAIT)


@contextmanager
def snmpd(folder: Path, lines: list[str]) -> Iterator[int]:
    """Run Net-SNMP's agent with these lines of configuration; yields its port."""
    port = free_port(socket.SOCK_DGRAM)
    configuration = folder / "snmpd.conf"
    configuration.write_text("\n".join([f"agentAddress udp:127.0.0.1:{port}", *lines, ""]))
    command = ["snmpd", "-f", "-C", "-c", str(configuration), "-I", "-smux", "-Lf", "/dev/null"]
    environment = {"SNMP_PERSISTENT_DIR": str(folder), "MIBS": "", "PATH": "/usr/sbin:/usr/bin"}
    with running(command, lambda: _answers(port), env=environment):
        yield port


def _answers(port: int) -> bool:
    """Whether something answers a GET of sysDescr.0, version 2c, as RFC 3416 has it."""
    oid = bytes.fromhex("06082b06010201010100")
    bind = b"\x30\x0c" + oid + b"\x05\x00"
    binds = b"\x30" + bytes([len(bind)]) + bind
    body = b"\x02\x01\x01\x02\x01\x00\x02\x01\x00" + binds
    pdu = b"\xa0" + bytes([len(body)]) + body
    message = b"\x02\x01\x01\x04\x06public" + pdu
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.settimeout(0.2)
        one.sendto(b"\x30" + bytes([len(message)]) + message, ("127.0.0.1", port))
        try:
            return bool(one.recv(4096))
        except OSError:
            return False


@contextmanager
def redis(folder: Path, *options: str) -> Iterator[int]:
    """Run Redis; yields its port."""
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    command += ["--dir", str(folder), "--unixsocket", str(folder / "redis.sock"), *options]
    with running(command, lambda: _takes(port)):
        yield port


def _takes(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 0.2).close()
    except OSError:
        return False
    return True


@contextmanager
def postgres() -> Iterator[int]:
    """Run PostgreSQL with a database of its own; yields its port. It refuses to run as root."""
    programs = max(Path("/usr/lib/postgresql").iterdir()) / "bin"
    whose = {"user": "postgres", "group": "postgres"} if os.getuid() == 0 else {}
    port, folder = free_port(), Path(tempfile.mkdtemp(prefix="watchkeeper-postgres-"))
    try:
        if whose:
            shutil.chown(folder, **whose)
        secret = folder / "password"
        secret.write_text("open-sesame")
        secret.chmod(0o644)
        made = [str(programs / "initdb"), "-D", str(folder / "data"), "-U", "watcher", "-N"]
        made += ["-A", "scram-sha-256", "--pwfile", str(secret), "-E", "UTF8", "--locale", "C"]
        subprocess.run(made, check=True, capture_output=True, cwd=folder, **whose)
        command = [str(programs / "postgres"), "-D", str(folder / "data"), "-p", str(port)]
        command += ["-h", "127.0.0.1", "-k", "", "-F", "-c", "shared_buffers=16MB"]
        with running(command, lambda: _ready(programs, port), cwd=folder, **whose):
            yield port
    finally:
        shutil.rmtree(folder)


def _ready(programs: Path, port: int) -> bool:
    asked = [str(programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    return subprocess.run(asked, check=False).returncode == 0


@contextmanager
def mosquitto(folder: Path, *lines: str, port: int = 0, kill: bool = False) -> Iterator[int]:
    """Run a broker that keeps its sessions in `folder`; yields its port.

    :param kill: end it without a word, as a machine that fails would.
    """
    port = port or free_port()
    configuration = folder / "mosquitto.conf"
    kept = ["persistence true", f"persistence_location {folder}/", "autosave_interval 1"]
    kept += ["autosave_on_changes false", "max_inflight_messages 1000"]
    account = ["user root"] if os.getuid() == 0 else []
    heard = [f"listener {port} 127.0.0.1", *lines]
    configuration.write_text("\n".join([*heard, *kept, *account, ""]))
    command = ["mosquitto", "-c", str(configuration)]
    with running(command, lambda: _takes(port), env={"PATH": "/usr/sbin:/usr/bin"}) as number:
        yield port
        if kill:
            os.kill(number, signal.SIGKILL)


@contextmanager
def fake_udp(answer: Callable[[bytes], bytes | None]) -> Iterator[int]:
    """Answer datagrams; None is silence. Yields the port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        one.settimeout(0.1)
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                try:
                    question, who = one.recvfrom(65536)
                except TimeoutError:
                    continue
                said = answer(question)
                if said is not None:
                    one.sendto(said, who)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield int(one.getsockname()[1])
        finally:
            over.set()
            thread.join()


@contextmanager
def fake_tcp(first: bytes = b"", answer: Callable[[bytes], bytes] | None = None) -> Iterator[int]:
    """Accept connections, say something, then answer what comes, or nothing. Yields the port."""
    over = threading.Event()

    class Guest(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.settimeout(0.05)
            self.request.sendall(first)
            while not over.is_set():
                with suppress(TimeoutError):
                    question = self.request.recv(65536)
                    if not question:
                        return
                    if answer is not None:
                        self.request.sendall(answer(question))

    class Door(socketserver.ThreadingTCPServer):
        allow_reuse_address = True

        def handle_error(self, request: object, client_address: object) -> None:
            """Guests leave whenever they like."""

    with Door(("127.0.0.1", 0), Guest) as door:
        thread = threading.Thread(target=door.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield int(door.server_address[1])
        finally:
            over.set()
            door.shutdown()
            thread.join()
