"""Tokens, people, and the audit that cannot be rewritten."""

import json
import re
import sqlite3
import stat

import pytest
from tests.guarded import NOW, PASSWORD, Site

from watchkeeper.access import LOCAL, PEOPLE, ROLES, Role, Scope, tokens
from watchkeeper.access.accounts import Accounts, Event
from watchkeeper.access.audit import KIND, SINGLY, Audit, body
from watchkeeper.access.doorkeeper import Shown
from watchkeeper.access.sessions import network
from watchkeeper.errors import AccessError, TooManyFailures, Unauthenticated

DAY = 86_400_000


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path)
    yield site
    site.close()


def asker(site, text):
    return site.keeper.asker(Shown(f"Bearer {text}"))


def test_a_token_is_what_scanners_look_for_and_its_secret_is_kept_nowhere(site, tmp_path):
    id, text = site.token("agent")
    assert re.fullmatch(r"wk_test_[a-z2-7]{8}_[A-Za-z0-9_-]{43}", text)
    assert asker(site, text).name == f"token:{id}"
    secret = text.split("_", 3)[3].encode()  # it may have underscores of its own
    for file in tmp_path.iterdir():
        assert file.is_dir() or secret not in file.read_bytes(), file
    assert stat.S_IMODE((tmp_path / "accounts.sqlite").stat().st_mode) == 0o600


def test_ten_thousand_tokens_are_all_different():
    made = [tokens.mint("prod") for _ in range(10_000)]
    assert len({one.text for one in made}) == 10_000
    assert len({one.digest for one in made}) == 10_000


@pytest.mark.parametrize("kind", ["Bearer", "bearer", "Token"])
def test_a_token_comes_as_bearer_as_influx_says_it_or_as_the_password_of_basic(site, kind):
    import base64

    _, text = site.token("agent")
    assert site.keeper.asker(Shown(f"{kind} {text}")).role == "agent"
    basic = base64.b64encode(f"anything:{text}".encode()).decode()
    assert site.keeper.asker(Shown(f"Basic {basic}")).role == "agent"


@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer ", "Basic %%%", "Digest x", "Bearer wk_a_b_c", "x" * 9999]
)
def test_what_is_no_credential_does_not_hold(site, header):
    with pytest.raises(Unauthenticated):
        site.keeper.asker(Shown(header))


def test_expired_revoked_and_altered_tokens_do_not_hold(site):
    _, short = site.token("viewer", life=1000)
    id, long = site.token("viewer")
    assert asker(site, short).role == "viewer"
    site.clock.now += 1000
    site.desk.revoke_token(id, site.clock())
    other = long[:-1] + ("A" if long[-1] != "A" else "B")
    for text in (short, long, other):
        with pytest.raises(Unauthenticated) as told:
            asker(site, text)
        assert str(told.value) == "WK801 this credential does not hold"


def test_a_rotated_token_has_another_secret_and_the_one_before_holds_for_the_grace_only(site):
    id, old = site.token("agent", life=DAY)
    site.clock.now += 1000
    changed, new = site.desk.rotate_token(id, "test", site.clock(), 5000)
    assert (changed.id, changed.expires) == (id, NOW + 1000 + DAY)
    assert asker(site, old).name == asker(site, new).name
    site.clock.now += 5000
    assert asker(site, new).role == "agent"
    with pytest.raises(Unauthenticated):
        asker(site, old)
    site.desk.revoke_token(id, site.clock())
    with pytest.raises(AccessError, match="revoked"):
        site.desk.rotate_token(id, "test", site.clock(), 0)


def test_what_another_process_changes_holds_at_once(site, tmp_path):
    id, text = site.token("agent")
    assert asker(site, text)
    other = Accounts(tmp_path)
    from watchkeeper.access.desk import Desk

    Desk(other, "local:other", "command line").revoke_token(id, site.clock())
    other.close()
    with pytest.raises(Unauthenticated):
        asker(site, text)


def test_when_a_token_was_last_used_is_known_to_the_minute(site):
    id, text = site.token("agent")
    asker(site, text)
    site.keeper.round()
    assert site.accounts.book().tokens[id].used == NOW
    site.clock.now += 10_000
    asker(site, text)
    site.keeper.round()
    assert site.accounts.book().tokens[id].used == NOW
    site.clock.now += 60_000
    asker(site, text)
    site.keeper.round()
    assert site.accounts.book().tokens[id].used == NOW + 70_000


def test_passwords_are_kept_as_argon2id_and_short_ones_are_refused(site):
    site.desk.add_person("ann", Role.ADMIN, PASSWORD, site.clock())
    assert site.accounts.book().people["ann"].password.startswith("$argon2id$v=19$m=65536,t=3,p=1$")
    for password in ("short", "x" * 2000):
        with pytest.raises(AccessError, match="12 to 1024"):
            site.desk.add_person("bob", Role.VIEWER, password, site.clock())
    with pytest.raises(AccessError, match="there is a user"):
        site.desk.add_person("ann", Role.VIEWER, PASSWORD, site.clock())
    with pytest.raises(AccessError, match="no role for people"):
        site.desk.set_role("ann", Role.AGENT, site.clock())
    with pytest.raises(AccessError, match="cannot be a name"):
        site.desk.add_person("../ann", Role.VIEWER, PASSWORD, site.clock())


def test_after_ten_failures_in_a_minute_nothing_is_tried_for_the_rest_of_it(site):
    site.desk.add_person("ann", Role.VIEWER, PASSWORD, site.clock())
    for _ in range(10):
        with pytest.raises(Unauthenticated):
            site.keeper.sign_in("ann", "wrong", "192.0.2.1")
    with pytest.raises(TooManyFailures) as told:
        site.keeper.sign_in("ann", PASSWORD, "192.0.2.9")
    assert told.value.retry_after == 60
    with pytest.raises(TooManyFailures):
        site.keeper.sign_in("bob", PASSWORD, "192.0.2.1")
    site.clock.now += 60_000
    assert site.keeper.sign_in("ann", PASSWORD, "192.0.2.1")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
    ],
)
def test_a_subscriber_of_ipv6_counts_as_one_address(one, other, same):
    assert (network(one) == network(other)) is same


def test_every_change_is_a_link_of_the_ledgers_chain_that_proves(site):
    id, _ = site.token("agent")
    site.desk.add_person("ann", Role.ADMIN, PASSWORD, site.clock())
    site.desk.set_role("ann", Role.VIEWER, site.clock())
    assert all(one.link is None for one in site.accounts.events(10))
    site.keeper.round()
    found = site.accounts.events(10)
    assert [one.action for one in found] == ["user.role", "user.add", "token.create"]
    links = {link.seq: link for link in site.ledger.links()}
    for event in found:
        assert links[event.link].kind == KIND
        assert links[event.link].body == body(event)
    assert json.loads(found[2].detail)["id"] == id
    assert site.ledger.prove() == 4


def test_a_crash_between_chain_and_row_links_an_event_once(site):
    class Crash(Exception):
        pass

    def crash(number, seq):
        raise Crash

    site.token("agent")
    original, site.accounts.link = site.accounts.link, crash
    with pytest.raises(Crash):
        site.audit.link()
    site.accounts.link = original
    again = Audit(site.accounts, site.ledger)
    again.link()
    assert [link.kind for link in site.ledger.links()] == ["genesis", KIND]
    assert site.accounts.events(1)[0].link == 2


def test_a_row_that_was_changed_differs_from_its_link(site, tmp_path):
    site.token("agent")
    site.keeper.round()
    with sqlite3.connect(tmp_path / "accounts.sqlite") as db:
        db.execute("update event set who = 'somebody else'")
    event = site.accounts.events(1)[0]
    link = next(site.ledger.links(event.link - 1))
    assert event.who == "somebody else"
    assert link.body != body(event)


def test_a_flood_of_failures_is_counted_and_does_not_fill_the_disk(site):
    for _ in range(SINGLY + 40):
        site.audit.failed(Event(site.clock(), "anyone", "192.0.2.1", "sign_in", "refused"))
    assert len(site.accounts.events(1000)) == SINGLY
    site.clock.now += 60_000
    site.audit.failed(Event(site.clock(), "anyone", "192.0.2.1", "sign_in", "refused"))
    newest, count = site.accounts.events(2)
    assert newest.action == "sign_in"
    assert json.loads(count.detail) == {"failures_not_told": 40}


def test_events_are_found_by_who_what_and_when(site):
    site.token("agent")
    site.clock.now += 1000
    site.desk.add_person("ann", Role.ADMIN, PASSWORD, site.clock())
    assert site.events(action="user.add") == [("local:test", "user.add", "done")]
    assert site.events(who="nobody") == []
    assert site.events(since=NOW + 1) == [("local:test", "user.add", "done")]
    newest = site.accounts.events(1)[0]
    assert [one.action for one in site.accounts.events(9, before=newest.number)] == ["token.create"]


def test_nobody_both_writes_what_acts_and_approves_it():
    for role, scopes in ROLES.items():
        assert not {Scope.APPROVALS_WRITE, Scope.FLAGS_WRITE} <= scopes, role
        assert not {Scope.APPROVALS_WRITE, Scope.TOKENS_ADMIN} <= scopes, role
        assert Scope.PUBLIC in scopes
    assert set(ROLES) == set(Role)
    assert set(PEOPLE) == set(Role) - {Role.AGENT}
    assert set().union(*ROLES.values()) == set(Scope)
    assert ROLES[Role.VIEWER] | {Scope.TELEMETRY_WRITE} == LOCAL
    assert ROLES[Role.AGENT] == {Scope.PUBLIC, Scope.TELEMETRY_WRITE}
