"""P5: more than may wait is refused, and comes again."""

import json

from tests.commands import wk

from .driving import balanced, house


def test_more_than_may_wait_is_refused_with_503_and_comes_again(tmp_path, capsys):
    # A quarter of one body may wait: while one is stored the next is told to come again.
    with house(tmp_path, "limits: {waiting: 16KiB}\n") as one:
        one.begin()
        to = f"http://127.0.0.1:{one.port}"
        how = ("--protocol", "json_lines", "--series", 400, "--entities", 4, "--connections", 4)
        code = wk("load", "--to", to, *how, "--batch", 100, "--duration", "3s", "--output", "json")
        facts = json.loads(capsys.readouterr().out)
        (steady,) = facts["phases"]
        assert code == 0
        assert set(steady["answers"]) == {"200", "503"}
        assert steady["retries"] > 0
        assert (steady["refused"], facts["server"]["missing"]) == (0, 0)
        balanced(one.metrics())
        assert one.end() == 0
        one.prove()
