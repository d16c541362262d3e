"""Who may flip a flag of a running house, and that it is written down under that name."""

import pytest
from tests.commands import wk
from tests.guarded import Site
from tests.test_flags import Switched

from watchkeeper.access import ROLES, Scope

WHERE = "/api/v1/flags/action.webhook"
SAID = {"on": True, "reason": "ready"}
MAY = [role for role, scopes in ROLES.items() if Scope.FLAGS_WRITE in scopes]


@pytest.fixture
def site(tmp_path):
    one = Site(tmp_path, view=Switched())
    yield one
    one.close()


@pytest.mark.parametrize("role", ROLES)
def test_exactly_the_roles_with_the_scope_flip_and_each_attempt_is_audited(role, site):
    identifier, token = site.token(role)
    answer = site.ask(WHERE, "PUT", token, json=SAID)
    who = f"token:{identifier}"
    if role in MAY:
        assert answer.status_code == 200
        assert site.view.flips == [("action.webhook", True, who, "ready")]
        assert site.events(outcome="allowed") == [(who, f"PUT {WHERE}", "allowed")]
    else:
        assert answer.status_code == 403
        assert site.view.flips == []
        assert site.events(outcome="denied") == [(who, f"PUT {WHERE}", "denied")]


def test_a_person_signed_in_flips_under_his_own_name_from_a_page_of_ours_only(site):
    headers = site.signed_in("ann", "admin")
    assert site.ask(WHERE, "PUT", headers=headers, json=SAID).status_code == 200
    assert site.view.flips == [("action.webhook", True, "person:ann", "ready")]
    elsewhere = headers | {"Origin": "https://stranger.example"}
    assert site.ask(WHERE, "PUT", headers=elsewhere, json=SAID).status_code == 403
    without = {name: value for name, value in headers.items() if name != "X-CSRF-Token"}
    assert site.ask(WHERE, "PUT", headers=without, json=SAID).status_code == 403
    assert len(site.view.flips) == 1


def test_on_loopback_without_a_credential_flags_are_read_and_not_flipped(site):
    assert site.ask("/api/v1/flags").status_code == 200
    assert site.ask(WHERE, "PUT", json=SAID).status_code == 401
    assert site.ask(WHERE, "PUT", "wk_prod_nobody_xyz", json=SAID).status_code == 401
    assert site.view.flips == []


def test_nobody_says_in_the_body_who_he_is(site):
    token = site.token("admin")[1]
    assert site.ask(WHERE, "PUT", token, json=SAID | {"actor": "ann"}).status_code == 400
    assert site.view.flips == []


def test_the_command_flips_a_running_house_with_a_token_file(site, tmp_path, capsys):
    """The site holds the stores of its folder, as a running house does."""
    where = ("--data", tmp_path, "--url", f"http://127.0.0.1:{site.serve()}", "--reason", "CHG-1")
    made = {}
    for role in ("operator", "admin"):
        made[role] = tmp_path / role
        made[role].touch(0o600)
        identifier, text = site.token(role)
        made[role].write_text(f"{text}\n")

    def flips(name, role=""):
        shown = ("--token-file", made[role]) if role else ()
        code = wk("flag", "on", name, *where, *shown)
        said = capsys.readouterr()
        assert "wk_" not in said.out + said.err
        return code, said.out + said.err

    code, said = flips("action.webhook")
    assert (code, "HTTP 401" in said, "--token-file" in said) == (1, True, True)
    code, said = flips("action.webhook", "operator")
    assert (code, "HTTP 403" in said, "flags:write" in said) == (1, True, True)
    code, said = flips("no/such flag", "admin")
    assert (code, "HTTP 404" in said) == (1, True)
    made["admin"].chmod(0o644)
    code, said = flips("action.webhook", "admin")
    assert (code != 0, "others" in said) == (True, True)
    assert site.view.flips == []
    made["admin"].chmod(0o600)
    assert flips("action.webhook", "admin")[0] == 0
    assert site.view.flips == [("action.webhook", True, f"token:{identifier}", "CHG-1")]
    assert (f"token:{identifier}", f"PUT {WHERE}", "allowed") in site.events()
