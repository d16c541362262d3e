"""The deployment guide, followed literally below a folder of its own.

Every block of `docs/deployment.md` runs as it stands, in one shell after another. What a test
cannot have is replaced, and only that: the root of the file system, the port, the account, and the
service manager, whose stand-in reads the unit and starts what it names with the environment it
gives. Dependencies, and kernels that are compiled already, are those of these tests; at night both
are fetched and compiled as the guide says.
"""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from tools.release import running

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
UNIT = ROOT / "deploy" / "systemd" / "watchkeeper.service"
HASHED = "--no-deps --require-hashes --only-binary :all: --requirement requirements.lock"
PLACES = ("/opt/watchkeeper", "/etc/", "/var/lib/watchkeeper", "/var/cache/watchkeeper")

# Reads the unit below the root and does what systemd does with it, as far as the guide needs.
MANAGER = """\
#!{python}
import os, pathlib, re, shlex, signal, subprocess, sys
root = pathlib.Path({root!r})
unit = (root / "etc/systemd/system/watchkeeper.service").read_text()
told = root / "pid"
asked = [word for word in sys.argv[1:] if not word.startswith("--")]
verb = "start" if "--now" in sys.argv else asked[0]
if verb == "start":
    command = shlex.split(re.search(r"^ExecStart=(.*)$", unit, re.M)[1])
    given = dict(w.split("=", 1) for w in re.search(r"^Environment=(.*)$", unit, re.M)[1].split())
    below = lambda text: re.sub(r"^/(?=opt|etc|var)", str(root) + "/", text)
    environment = {{**os.environ, **{{k: below(v) for k, v in given.items()}}, **{more!r}}}
    with open(root / "started", "a") as started:
        print(os.readlink(root / "opt/watchkeeper/current"), file=started)
    with open(root / "journal", "ab") as log:
        service = subprocess.Popen(
            [below(word) for word in command], env=environment, stdout=log, stderr=log,
            stdin=subprocess.DEVNULL, start_new_session=True,
        )
    told.write_text(str(service.pid))
elif verb == "stop":
    subprocess.run(["kill", "-TERM", told.read_text()], check=True)
    subprocess.run(["tail", "--pid", told.read_text(), "-f", "/dev/null"], check=True, timeout=120)
    told.unlink()
elif verb == "reload":
    os.kill(int(told.read_text()), signal.SIGHUP)
"""


def blocks(title):
    """The blocks of one section of the guide that are to be run."""
    section = GUIDE.split(f"### {title}\n")[1].split("\n### ")[0].split("\n## ")[0]
    found = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    assert found, title
    return found


def wheel(version, out, work):
    """Build the wheel of the tree, as this version."""
    tree = work / f"tree-{version}"
    skipped = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "src", tree / "src", ignore=skipped)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    init = tree / "src" / "watchkeeper" / "__init__.py"
    said = re.sub(r'__version__ = "[^"]+"', f'__version__ = "{version}"', init.read_text())
    init.write_text(said)
    words = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", out]
    subprocess.run(words, cwd=tree, check=True, capture_output=True)


class Machine:
    """A root below a folder, and a shell in which the guide's blocks run."""

    def __init__(self, folder, literal=False):
        self.root, self.work, self.literal = folder / "root", folder / "work", literal
        self.root.mkdir()
        self.work.mkdir()
        (self.root / "etc").mkdir()
        for version in ("0.1.0", "0.1.1"):
            wheel(version, self.work, folder)
        shutil.copytree(ROOT / "deploy", self.work / "deploy")
        shutil.copy(ROOT / "requirements.lock", self.work)
        self.path = folder / "bin"
        self.path.mkdir()
        manager = self.path / "systemctl"
        more = {} if literal else {"PYTHONPATH": str(ROOT / "src")}
        manager.write_text(MANAGER.format(python=sys.executable, root=str(self.root), more=more))
        manager.chmod(0o755)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    def follow(self, title):
        """Run the blocks of a section; return what they say."""
        said = []
        for block in blocks(title):
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", self.here(block)], cwd=self.work,
                env={**os.environ, "PATH": f"{self.path}:{os.environ['PATH']}"},
                capture_output=True, text=True, check=False, timeout=500,
            )  # fmt: skip
            log = self.root / "journal"
            seen = log.read_text()[-3000:] if log.exists() else ""
            assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}\n{seen}"
            said.append(done.stdout)
        return "".join(said)

    def here(self, block):
        """The block with what a test cannot have replaced."""
        for place in PLACES:
            block = re.sub(rf"(?<![\w.]){place}", f"{self.root}{place}", block)
        replaced = {
            "0.0.0.0:8470": f"127.0.0.1:{self.port}",
            "localhost:8470": f"localhost:{self.port}",
            "runuser -u watchkeeper -- ": "",
            "-g watchkeeper ": "",
            "systemd-sysusers ": f"systemd-sysusers --root={self.root} ",
            "systemd-tmpfiles ": f"systemd-tmpfiles --root={self.root} ",
        }
        if not self.literal:
            # The dependencies are there already, for these tests; `make package` installs them so.
            site = sysconfig.get_path("purelib")
            pattern = rf"(\S+)/bin/pip install {re.escape(HASHED)}"
            line = rf"echo {shlex.quote(site)} > $(echo \1/lib/python3*/site-packages)/tests.pth"
            block = re.sub(pattern, line, block)
        for old, new in replaced.items():
            block = block.replace(old, new)
        return block

    def ended(self):
        """End the service, if the guide left it running."""
        told = self.root / "pid"
        if told.exists():
            os.kill(int(told.read_text()), signal.SIGKILL)


@pytest.fixture(params=["at hand", pytest.param("fetched", marks=pytest.mark.nightly)])
def machine(request, tmp_path):
    one = Machine(tmp_path, literal=request.param == "fetched")
    yield one
    one.ended()


def mode(path):
    return oct(path.stat().st_mode & 0o777)


@pytest.mark.timeout(1800)
def test_the_guide_for_a_machine_leads_from_a_wheel_to_an_upgrade_and_back(machine):
    data = machine.root / "var/lib/watchkeeper"
    assert machine.follow("Install").endswith("watchkeeper 0.1.0\n")

    machine.follow("Its account and its folders")
    assert "watchkeeper" in (machine.root / "etc/passwd").read_text()
    folders = ("etc/watchkeeper", "etc/watchkeeper/tls", "var/lib/watchkeeper")
    assert [mode(machine.root / one) for one in folders] == ["0o750", "0o750", "0o700"]

    machine.follow("A certificate")
    assert mode(machine.root / "etc/watchkeeper/tls/key.pem") == "0o640"
    machine.follow("Its configuration")
    machine.follow("Who may ask")
    assert mode(machine.work / "monitoring.token") == "0o600"

    machine.follow("Start")
    assert '"status":"success"' in machine.follow("See that it works").replace(" ", "")
    machine.follow("Change the configuration")
    machine.follow("Upgrade")
    assert (data / "data-of-0.1.0" / "journal.sqlite").exists()
    machine.follow("Roll back")

    subprocess.run([machine.path / "systemctl", "stop", "watchkeeper"], check=True)
    started = (machine.root / "started").read_text().split()
    assert started == ["0.1.0", "0.1.1", "0.1.0"]
    told = (machine.root / "journal").read_text()
    assert told.count('"event": "stopped"') == 3
    assert '"event": "reloaded"' in told
    assert '"level": "error"' not in told


def test_the_unit_is_valid_and_as_closed_as_the_guide_says(tmp_path):
    """Only that the program is not installed on this machine may be missing."""
    unit = tmp_path / "watchkeeper.service"
    unit.write_text(
        re.sub(r"^ExecStart=\S+", f"ExecStart={sys.executable}", UNIT.read_text(), flags=re.M)
    )
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False
    )
    ours = [line for line in done.stderr.splitlines() if "watchkeeper" in line]
    assert not ours
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", UNIT],
        capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    (exposure,) = re.findall(r"Overall exposure level for \S+: ([\d.]+)", rated)
    assert f"exposure {exposure} (" in GUIDE.replace("\n", " ")
    assert float(exposure) <= 1.3


def test_containers_are_run_as_the_rehearsal_runs_them():
    words = GUIDE.split("podman run")[1].split("NAME@DIGEST")[0].replace("\\\n", " ").split()
    for flag in running.HARDENED:
        assert flag in words, flag
    compose = (ROOT / "deploy" / "compose.yaml").read_text()
    for line in ("read_only: true", "cap_drop: [ALL]", "no-new-privileges:true", "65532:65532"):
        assert line in compose
