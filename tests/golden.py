"""The results of three fleets, locked: `python -m tests.golden` writes them down anew.

A digest changes when, and only when, some score, health or decision does. Whoever changes a
detector, health or a policy of the packs runs it and says in the commit why they moved.
"""

import json
import tempfile
from pathlib import Path

from tests.commands import digest, simulated, wk

LOCKED = Path(__file__).with_suffix(".json")
SEEDS = (1, 2, 3)


def golden(seed, folder):
    """Simulate the fleet of one seed, score it, and return the digest."""
    fleet = simulated(Path(folder) / f"{seed}.parquet", "--seed", seed)
    assert wk("score", fleet, "--out", Path(folder) / f"{seed}") == 0
    return digest(Path(folder) / f"{seed}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        found = {str(seed): golden(seed, made) for seed in SEEDS}
    LOCKED.write_text(json.dumps(found, indent=2) + "\n")
