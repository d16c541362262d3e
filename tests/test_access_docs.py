"""What docs/access.md says is what the tables in the code say."""

import re
from pathlib import Path

from watchkeeper.access import LOCAL, ROLES, Scope
from watchkeeper.access.settings import Access, OpenId, Tls
from watchkeeper.config import _plugs
from watchkeeper.http.api import endpoints

TEXT = (Path(__file__).parents[1] / "docs" / "access.md").read_text(encoding="utf-8")


def roles():
    columns = {"local": LOCAL, **ROLES}
    rows = [f"| scope | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for scope in Scope:
        granted = ("yes" if scope in scopes else "" for scopes in columns.values())
        rows.append(f"| `{scope}` | {' | '.join(granted)} |")
    return "\n".join(rows)


def settings():
    rows = []
    for section, kind in (("access", Access), ("openid", OpenId), ("tls", Tls)):
        default = kind()
        for name, said in _plugs.described(kind).items():
            value = getattr(default, name)
            value = f"`{value:g}`" if isinstance(value, float) else f"`{value}`" if value else ""
            rows.append(f"| `{section}.{name}` | {said} | {value} |")
    return "\n".join(rows)


def test_the_table_of_roles_is_the_table():
    assert re.search(r"<!-- roles -->\n(.*?)\n<!-- end -->", TEXT, re.S)[1] == roles()


def test_every_setting_is_in_the_table():
    assert settings() in TEXT


def test_the_table_of_the_api_is_the_table():
    api = (Path(__file__).parents[1] / "docs" / "api.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| (\w+) \| `([^`]+)` \| `([^`]+)` \| (.+) \|$", api, re.M)
    made = [
        (one.method, one.path.replace(":name", ""), str(one.scope), one.says.summary)
        for one in endpoints(None, object())
    ]
    assert told == made
