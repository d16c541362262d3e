"""Commands for a shell that begin where their imports end.

A page of commands spends most of its time before the first line of work of each. The command made
here hands its words, environment, folder and files to the process that runs the tests, which has
the program that stands ready forked, and is to the shell what the program would be: it takes
signals, ends with its code, and takes it along when it is killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from tests import lives

TURN = 0.02  # seconds between looks at whether it has ended
COMMAND = """\
#!{python} -IS
import json, os, signal, socket, sys

line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
line.connect({name!r})
order = {{"arguments": sys.argv[1:], "env": dict(os.environ), "at": os.getcwd()}}
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, lambda number, frame: line.send(str(number).encode()))
socket.send_fds(line, [json.dumps(order).encode()], [0, 1, 2])
code = int(line.recv(64))
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code)
"""


@contextlib.contextmanager
def command(place: Path) -> Iterator[None]:
    """Have a command of this name as long as this lasts."""
    name = f"\0watchkeeper-{os.getpid()}-{id(place)}"  # of no file: paths of sockets are short
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
        door.bind(name)
        door.listen()
        threading.Thread(target=_serve, args=(door,), daemon=True).start()
        place.parent.mkdir(exist_ok=True)
        place.write_text(COMMAND.format(python=sys.executable, name=name))
        place.chmod(0o755)
        try:
            yield
        finally:
            door.shutdown(socket.SHUT_RDWR)


def _serve(door: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it was shut
        while True:
            line, _ = door.accept()
            threading.Thread(target=_accompany, args=(line,), daemon=True).start()


def _accompany(line: socket.socket) -> None:
    """Be with one command from its words to its code."""
    with line:
        message, files, *_ = socket.recv_fds(line, lives.MESSAGE, 3)
        order = json.loads(message)
        life = lives.ready("tests.program").begin(
            *order["arguments"], out=files[1], error=files[2], into=files[0], env=order["env"],
            at=order["at"],
        )  # fmt: skip
        for file in files:
            os.close(file)
        while life.poll() is None:
            if select.select([line], [], [], TURN)[0]:
                if told := line.recv(64):
                    life.send_signal(int(told))
                else:
                    life.kill()
        with contextlib.suppress(BrokenPipeError):
            line.send(str(life.returncode).encode())
