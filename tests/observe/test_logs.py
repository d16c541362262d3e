"""S8: log lines are lines, whatever others sent us; and read well in front of a terminal."""

import io
import json

import pytest
import structlog

from watchkeeper.observe import logs
from watchkeeper.observe.events import FIELD_MAX
from watchkeeper.observe.settings import Log

HOSTILE = 'a\r\n12:00:00 error   forged\x1b[2J\x00\u202e\u2028\x85 level="error"' + "x" * (1 << 20)


@pytest.fixture
def written():
    """Write lines as `run` does, in a format of choice; all is as before when the test ends."""
    before, out = structlog.get_config(), io.StringIO()

    def write(form, **fields):
        logs.configure(Log(format=form), out)
        structlog.get_logger("watchkeeper").info("decided", **fields)
        return out.getvalue()

    yield write
    structlog.configure(**before)


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("where", ["entity", "held"])
def test_what_others_sent_is_one_short_field_of_one_line(written, form, where):
    told = written(form, **{where: HOSTILE if where == "entity" else {"label": [HOSTILE]}})
    assert told.count("\n") == 1
    assert told.endswith("\n")
    assert told[:-1].isprintable()
    assert len(told.encode()) < FIELD_MAX + 512
    assert "forged" in told
    if form == "json":
        assert json.loads(told)["level"] == "info"


def test_people_are_told_no_more_digits_than_say_something(written):
    told = written("text", health=80.63701923076924, rulebook="0af1" * 16, entity="host:a")
    assert told.rstrip().endswith("health=80.64  rulebook=0af10af10af1…  entity=host:a")
    exact = json.loads(written("json", health=80.63701923076924).splitlines()[-1])
    assert exact["health"] == 80.63701923076924
