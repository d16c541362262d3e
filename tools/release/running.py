"""Run an image from a registry as it should be run, and see that it works.

Read-only, no capabilities, no new privileges, uid 65532, bounded memory and processes; the data
folder is the only thing it may write to.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.request
from pathlib import Path

from tools.release._run import Failed, run

PATIENCE = 900.0  # seconds: the first start compiles kernels, beside whatever else runs
PORT = 18470

# How every image is run, here and in docs/deployment.md; memory is the machine's to give.
HARDENED = (
    *("--read-only", "--tmpfs", "/tmp", "--cap-drop", "all", "--network", "host"),
    *("--security-opt", "no-new-privileges", "--pids-limit", "256"),
)

# What podman takes on a machine without systemd and with few rights of its own.
CONTAINERS = """\
[containers]
default_ulimits = ["nofile=1024:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


def run_hardened(name: str, image: str, login: Path, folder: Path) -> None:
    """Run `name`, which must be `image` (name@digest), until it shows a health; stop it.

    :raises Failed: it is another image, shows no health, can write where it should not, or does not
        end in order on SIGTERM.
    """
    configuration = folder / "containers.conf"
    configuration.write_text(CONTAINERS, encoding="utf-8")
    env = {
        "CONTAINERS_CONF": str(configuration),
        "STORAGE_DRIVER": os.environ.get("STORAGE_DRIVER", "overlay"),
        "REGISTRY_AUTH_FILE": str(login / "config.json"),
    }
    podman = ("podman", "--root", f"{folder}/pods", "--runroot", f"{folder}/pods-run")
    data = folder / "container-data"
    data.mkdir(mode=0o700)
    os.chown(data, 65532, 65532)
    run(*podman, "pull", "--quiet", name, env=env)
    found = run(*podman, "image", "inspect", "--format", "{{.Digest}}", name, env=env).strip()
    if not image.endswith(found):
        raise Failed(f"{name} is {found}, not {image}")
    command = ("run", "--listen", f"127.0.0.1:{PORT}", "--data", "/var/lib/watchkeeper/data")
    bounded = ("--memory", "2g", "--volume", f"{data}:/var/lib/watchkeeper")
    started = (*podman, "run", "--detach", "--name", "rehearsed", *HARDENED, *bounded, name)
    run(*started, *command, env=env)
    try:
        health = _health(podman, env)
        _cannot_write(podman, env)
        run(*podman, "stop", "--time", "20", "rehearsed", env=env)
        ended = run(*podman, "inspect", "--format", "{{.State.ExitCode}}", "rehearsed", env=env)
        if ended.strip() != "0":
            raise Failed(f"it ended with {ended.strip()} on SIGTERM\n{_said(podman, env)}")
    finally:
        run(*podman, "rm", "--force", "--time", "0", "rehearsed", env=env)
    print(f"ran {image} read-only as uid 65532; {health}; drained on SIGTERM")


def _health(podman: tuple[str, ...], env: dict[str, str]) -> str:
    until = time.monotonic() + PATIENCE
    url = f"http://127.0.0.1:{PORT}/api/v1/entities"
    while time.monotonic() < until and _runs(podman, env):
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                entities = json.load(answer)["data"]["entities"]
        except (OSError, ValueError, KeyError):
            entities = []
        for entity in entities:
            if entity.get("health") is not None:
                return f"{entity['entity']} has health {entity['health']:.0f}"
        time.sleep(1)
    raise Failed(f"no health within {PATIENCE:g} s\n{_said(podman, env)}")


def _runs(podman: tuple[str, ...], env: dict[str, str]) -> bool:
    return (
        run(*podman, "inspect", "--format", "{{.State.Running}}", "rehearsed", env=env) == "true\n"
    )


def _cannot_write(podman: tuple[str, ...], env: dict[str, str]) -> None:
    probe = (
        "import os, sys, pathlib\n"
        "assert os.getuid() == 65532, os.getuid()\n"
        "for place in ('/opt/watchkeeper/x', '/etc/x', '/x'):\n"
        "    try: pathlib.Path(place).write_text('x')\n"
        "    except OSError: continue\n"
        "    sys.exit(place + ' can be written')\n"
    )
    run(*podman, "exec", "rehearsed", "python3", "-c", probe, env=env)


def _said(podman: tuple[str, ...], env: dict[str, str]) -> str:
    words = [*podman, "logs", "--tail", "30", "rehearsed"]
    done = subprocess.run(
        words, env={**os.environ, **env}, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr
