"""Every severity that a policy or an alert may have says whom to call, and how fast."""

import re
import typing
from pathlib import Path

from watchkeeper.policies import Policy

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "runbooks" / "incidents.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (\d) \|([^|]+)\|([^|]+)\| (.+) \|$", PAGE, re.MULTILINE)
NAMES = [name for *_, named in ROWS for name in re.findall(r"`(\w+)`", named)]


def test_each_severity_of_policies_maps_to_one_of_incidents_and_says_who_and_how_fast():
    known = typing.get_args(Policy.model_fields["severity"].annotation)
    assert sorted(NAMES) == sorted(known)
    assert [number for number, *_ in ROWS] == ["1", "2", "3", "4"]
    assert all(means.strip() and who.strip() for _, means, who, _ in ROWS)
    assert re.search(r"^Escalate when ", PAGE, re.MULTILINE)


def test_shipped_policies_and_alerts_use_no_other():
    files = [*(ROOT / "src/watchkeeper/packs").rglob("*.yaml")]
    texts = [path.read_text(encoding="utf-8") for path in files]
    used = {one for text in texts for one in re.findall(r"severity: *(\w+)", text)}
    assert used
    assert used <= set(NAMES)
