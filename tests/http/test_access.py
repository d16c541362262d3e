"""Who may ask what: every route for every role, sessions, forgery, and what strangers learn."""

import itertools
import random
import re
import statistics
import time

import pytest
from tests.guarded import NOW, PASSWORD, Site
from tests.pushing import Plain

from watchkeeper import http
from watchkeeper.access import LOCAL, PEOPLE, ROLES, Role, Scope, tokens
from watchkeeper.access.settings import Access
from watchkeeper.errors import StoreFull
from watchkeeper.http.receive import doors
from watchkeeper.http.table import METHODS

HOSTILE = ["wk_test_aaaaaaaa_" + "A" * 43, "wk_", "eyJhbGciOiJub25lIn0.e30.", "", "\x7f", "x" * 300]


class Told:
    """An intake that takes nothing in: only the way to it is looked at."""

    limits = None

    def admit(self, receiver, tenant):
        from watchkeeper.errors import Overloaded

        raise Overloaded("closed", retry_after=1)

    def count(self, receiver, outcome):
        pass


def pushing():
    return doors([Plain()], Told(), lambda: NOW, itertools.count(1))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    site = Site(tmp_path_factory.mktemp("site"), doors=pushing())
    yield site
    site.close()


@pytest.fixture(scope="module")
def afar(tmp_path_factory):
    """The same house, open to others."""
    site = Site(tmp_path_factory.mktemp("afar"), local=False, doors=pushing())
    yield site
    site.close()


@pytest.fixture
def fresh(tmp_path):
    site = Site(tmp_path)
    yield site
    site.close()


def table(site):
    return [*http.endpoints(site.view, site.keeper), *pushing()]


def endless(endpoint):
    """The stream of events has no end; whom it lets in is looked at in test_events."""
    return endpoint.path == "/api/v1/events"


def at(endpoint):
    return re.sub(r"\{\w+(:\w+)?\}", "none", endpoint.path)


def verdict(answer):
    shut = answer.status_code == 503 and answer.request.url.path in {
        door.path for door in pushing()
    }
    assert answer.status_code < 500 or shut, answer.text
    return answer.status_code if answer.status_code in (401, 403) else "in"


@pytest.mark.parametrize("role", [*Role, None], ids=str)
@pytest.mark.parametrize("place", ["site", "afar"])
def test_every_route_is_open_to_exactly_the_roles_that_have_its_scope(role, place, request):
    site = request.getfixturevalue(place)
    stranger = LOCAL if place == "site" else frozenset({Scope.PUBLIC})
    token = site.of_each_role()[role] if role else ""
    granted = ROLES[role] if role else stranger
    for endpoint in table(site):
        if (endpoint.method, endpoint.path) == ("POST", "/sign-in"):
            continue  # its 401 is about the form
        expected = "in" if endpoint.scope in granted else 403 if role else 401
        if endless(endpoint) and expected == "in":
            continue
        answer = site.ask(at(endpoint), endpoint.method, token)
        assert verdict(answer) == expected, (endpoint.method, endpoint.path, answer.text)
        if endpoint.method == "GET":
            assert verdict(site.ask(at(endpoint), "HEAD", token)) == expected


@pytest.mark.parametrize("role", PEOPLE, ids=str)
def test_somebody_signed_in_may_what_his_role_may(role, site):
    browser = site.signed_in(f"person-{role}", role)
    for endpoint in table(site):
        if endpoint.path.startswith("/sign-"):
            continue
        expected = "in" if endpoint.scope in ROLES[role] else 403
        if endless(endpoint) and expected == "in":
            continue
        answer = site.ask(at(endpoint), endpoint.method, headers=browser)
        assert verdict(answer) == expected, (endpoint.method, endpoint.path, answer.text)


@pytest.mark.parametrize(
    "name", ["a%0Ab", "%0A", "a%0D%0Ab/c", "%E2%80%A8", "a%00b", "..%2f", "x/"]
)
def test_whatever_a_path_names_who_may_not_ask_learns_nothing_of_it(site, name):
    tokens = site.of_each_role()
    for path in (f"/api/v1/{kind}/{name}" for kind in ("entities", "decisions", "orders")):
        assert site.ask(path, "GET", tokens[Role.AGENT]).status_code == 403
        assert site.ask(path, "GET", tokens[Role.VIEWER]).status_code == 404
    retry = f"/api/v1/orders/{name}/retry"
    assert site.ask(retry, "POST", tokens[Role.VIEWER]).status_code == 403
    assert site.ask(retry, "POST", tokens[Role.OPERATOR]).status_code == 404


def test_a_method_that_is_not_in_the_table_is_no_way_in(site):
    known = {}
    for endpoint in table(site):
        known.setdefault(at(endpoint), set()).add(endpoint.method)
    admin = site.of_each_role()[Role.ADMIN]
    for path, methods in known.items():
        for method in {*METHODS, "OPTIONS", "TRACE"} - methods:
            headers = {"X-HTTP-Method-Override": "GET", "X-Method-Override": "GET"}
            status = site.ask(path, method, admin, headers).status_code
            # A key may hold slashes, so `…/none/retry` could be an order, and is none.
            assert status == 405 or (method, status) == ("GET", 404), (method, path, status)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_credential_that_does_not_hold_is_never_passed_over(site, text):
    answer = site.ask("/api/v1/status", headers={"Authorization": f"Bearer {text}"})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.json()["errorType"] == "unauthorized"


def test_unknown_wrong_expired_and_revoked_are_told_the_same_and_cost_the_same(fresh, monkeypatch):
    cases = refusals(fresh)
    work = []
    for name in ("digest", "same"):
        original = getattr(tokens, name)
        monkeypatch.setattr(tokens, name, lambda *a, n=name, f=original: (work.append(n), f(*a))[1])
    told = set()
    for text in cases.values():
        work.clear()
        answer = fresh.ask("/api/v1/status", token=text)
        told.add((answer.status_code, answer.content, str(answer.headers), tuple(work)))
    assert len(told) == 1, told


def refusals(site):
    """Return credentials that do not hold, by why."""
    id, revoked = site.token("viewer")
    _, expired = site.token("viewer", life=1)
    site.clock.now += 1
    site.desk.revoke_token(id, site.clock())
    _, good = site.token("viewer")
    wrong = good[:-43] + "A" * 43
    return {"unknown": HOSTILE[0], "wrong": wrong, "expired": expired, "revoked": revoked}


@pytest.mark.nightly
def test_refusals_cannot_be_told_apart_by_a_clock(fresh):
    cases = refusals(fresh)
    times = {name: [] for name in cases}
    for round in range(240):
        fresh.clock.now += 60_000  # so that each is written down alike
        for name in random.Random(round).sample(sorted(cases), len(cases)):
            began = time.perf_counter()
            fresh.ask("/api/v1/status", token=cases[name])
            times[name].append(time.perf_counter() - began)
    for one, other in itertools.combinations(times, 2):
        assert mann_whitney(times[one][40:], times[other][40:]) > 0.001, (one, other)


def mann_whitney(one, other):
    """Return the two-sided p of the rank-sum test, by the normal approximation."""
    ranked = sorted([(v, 0) for v in one] + [(v, 1) for v in other])
    rank = sum(place for place, (_, which) in enumerate(ranked, 1) if which == 0)
    n, m = len(one), len(other)
    mean, deviation = n * (n + m + 1) / 2, (n * m * (n + m + 1) / 12) ** 0.5
    return 2 * (1 - statistics.NormalDist().cdf(abs(rank - mean) / deviation))


def test_the_rank_sum_test_tells_what_differs():
    same = [float(n % 97) for n in range(200)]
    assert mann_whitney(same, same[::-1]) > 0.5
    assert mann_whitney(same, [v + 60 for v in same]) < 1e-6


def test_a_name_that_does_not_exist_costs_a_password_too(fresh, monkeypatch):
    from watchkeeper.access import passwords

    fresh.desk.add_person("ann", Role.VIEWER, PASSWORD, fresh.clock())
    tried = []
    original = passwords._hasher.verify

    class Counting:
        def verify(self, kept, password):
            tried.append(kept[:30])
            return original(kept, password)

    monkeypatch.setattr(passwords, "_hasher", Counting())
    first = fresh.sign_in("ann", "wrong password")
    second = fresh.sign_in("nobody", "wrong password")
    assert (first.status_code, first.content) == (second.status_code, second.content)
    assert first.status_code == 401
    assert len(tried) == 2
    assert tried[0] == tried[1]


def test_signing_in_sets_a_cookie_scripts_cannot_read_and_other_sites_cannot_send(fresh):
    fresh.desk.add_person("ann", Role.VIEWER, PASSWORD, fresh.clock())
    answer = fresh.sign_in(form={"next": "/decisions?x=1"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/decisions?x=1")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("wk_session=")
    for part in ("HttpOnly", "SameSite=strict", "Path=/", "Max-Age=43200"):
        assert part.lower() in cookie.lower()
    assert "secure" not in cookie.lower()
    answer = fresh.sign_in(base_url="https://localhost", origin="https://localhost")
    assert answer.headers["set-cookie"].startswith("__Host-wk_session=")
    assert "; secure" in answer.headers["set-cookie"].lower()
    assert "domain" not in answer.headers["set-cookie"].lower()


@pytest.mark.parametrize(
    "away",
    ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)",
     "\\\\evil", "/sign-in?next=/", "/\r\nSet-Cookie: x=1", "/a\tb"],
)  # fmt: skip
def test_after_signing_in_one_is_sent_to_a_page_of_this_house_only(fresh, away):
    fresh.desk.add_person("ann", Role.VIEWER, PASSWORD, fresh.clock())
    answer = fresh.sign_in(form={"next": away})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_a_planted_cookie_is_worth_nothing_after_the_sign_in(fresh):
    browser = fresh.signed_in("mallory", "viewer")
    fresh.desk.add_person("ann", Role.ADMIN, PASSWORD, fresh.clock())
    answer = fresh.sign_in(
        "ann", headers={"Cookie": browser["Cookie"], "X-CSRF-Token": browser["X-CSRF-Token"]}
    )
    assert answer.status_code == 303
    assert answer.headers["set-cookie"].split(";")[0] != browser["Cookie"]
    assert who(fresh, browser) == "anyone"


def who(site, headers):
    return site.ask("/api/v1/whoami", headers=headers).json()["data"]["name"]


def test_a_changed_role_holds_at_once_and_a_changed_password_ends_sessions(fresh):
    browser = fresh.signed_in("ann", "viewer")
    path = "/api/v1/whoami"
    assert fresh.ask(path, headers=browser).json()["data"]["role"] == "viewer"
    fresh.desk.set_role("ann", Role.ADMIN, fresh.clock())
    assert fresh.ask(path, headers=browser).json()["data"]["role"] == "admin"
    fresh.clock.now += 1
    fresh.desk.set_password("ann", PASSWORD + "!", fresh.clock())
    assert who(fresh, browser) == "anyone"
    assert fresh.sign_in("ann", PASSWORD).status_code == 401


def test_a_removed_person_is_out_at_once(fresh):
    browser = fresh.signed_in("ann", "viewer")
    fresh.desk.remove_person("ann", fresh.clock())
    assert who(fresh, browser) == "anyone"


def test_sessions_end_after_a_while_and_sooner_without_requests(fresh):
    browser = fresh.signed_in("ann", "viewer")
    for _ in range(12):
        fresh.clock.now += 3_599_000
        assert who(fresh, browser) == "person:ann"
    fresh.clock.now += 12_000
    assert who(fresh, browser) == "anyone"
    browser = fresh.signed_in("ann", "viewer")
    fresh.clock.now += 3_600_000
    assert who(fresh, browser) == "anyone"


def test_signing_out_ends_the_session(fresh):
    browser = fresh.signed_in("ann", "viewer")
    answer = fresh.ask("/sign-out", "POST", headers=browser)
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    assert who(fresh, browser) == "anyone"
    assert ("person:ann", "sign_out", "done") in fresh.events()


FORGED = [
    {"X-CSRF-Token": ""},
    {"X-CSRF-Token": "x" * 43},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost.evil.example"},
    {"Origin": "http://localhost:81"},
    {"Origin": "", "Sec-Fetch-Site": "cross-site"},
    {"Origin": ""},
]


@pytest.mark.parametrize("change", FORGED, ids=str)
def test_an_unsafe_request_that_no_page_of_ours_sent_is_refused(site, change):
    browser = site.signed_in("forged", "admin")
    headers = {name: text for name, text in {**browser, **change}.items() if text}
    answer = site.ask("/sign-out", "POST", headers=headers)
    assert (answer.status_code, answer.json()["errorType"]) == (403, "forbidden")
    assert who(site, browser) == "person:forged"


def test_the_token_of_a_form_is_as_good_as_that_of_a_header(fresh):
    browser = fresh.signed_in("ann", "viewer")
    csrf = browser.pop("X-CSRF-Token")
    wrong = fresh.ask("/sign-out", "POST", headers=browser, data={"csrf_token": "no"})
    assert wrong.status_code == 403
    huge = fresh.ask("/sign-out", "POST", headers=browser, data={"csrf_token": "x" * 70_000})
    assert huge.status_code == 403
    right = fresh.ask("/sign-out", "POST", headers=browser, data={"csrf_token": csrf})
    assert right.status_code == 303


def test_nobody_can_be_signed_in_from_another_site(fresh):
    fresh.desk.add_person("mallory", Role.VIEWER, PASSWORD, fresh.clock())
    answer = fresh.sign_in("mallory", origin="https://evil.example")
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}]
)
def test_telemetry_from_web_pages_stays_refused(site, headers):
    assert site.ask("/push", "POST", headers=headers, content=b"x").status_code == 403


def test_a_person_at_a_page_is_shown_where_to_sign_in_and_a_program_is_told(afar):
    page = afar.ask("/?a=b", headers={"Accept": "text/html,*/*"})
    assert (page.status_code, page.headers["location"]) == (303, "/sign-in?next=%2F%3Fa%3Db")
    program = afar.ask("/", headers={"Accept": "*/*"})
    assert program.status_code == 401
    form = afar.ask(page.headers["location"])
    assert form.status_code == 200
    assert 'name="next" value="/?a=b"' in form.text
    assert "script" not in form.headers["content-security-policy"]
    hostile = afar.ask("/sign-in?next=/%22%3E%3Cscript%3E").text
    assert "<script" not in hostile


def test_anonymous_none_shuts_loopback_too(tmp_path):
    site = Site(tmp_path, Access(anonymous="none"))
    assert site.ask("/api/v1/status").status_code == 401
    assert site.ask("/-/healthy").status_code == 200
    site.close()


def test_refusals_and_unsafe_requests_are_written_down_with_who_and_where(fresh):
    id, viewer = fresh.token("viewer")
    fresh.ask("/api/v1/status", token=HOSTILE[0])
    fresh.ask("/push", "POST", viewer)  # there is no such door here
    browser = fresh.signed_in("ann", "viewer")
    fresh.ask("/sign-out", "POST", headers={**browser, "Origin": "https://evil.example"})
    fresh.keeper.round()
    assert fresh.events(outcome="refused") == [("anyone", "GET /api/v1/status", "refused")]
    assert fresh.events(outcome="denied") == [("person:ann", "POST /sign-out", "denied")]
    assert fresh.accounts.events(1, outcome="denied")[0].origin == "127.0.0.1"
    assert id in fresh.accounts.book().tokens
    assert fresh.ledger.prove() > 1


def test_log_injection_has_no_way_into_the_audit(fresh):
    """S8: what strangers write is data in a row, with its control characters escaped."""
    hostile = "ann\r\n2026-01-01 admin done\x1b[2J\x00\u202e" + "x" * 100_000
    answer = fresh.sign_in(hostile, "wrong password")
    assert answer.status_code in (400, 401, 413)
    fresh.sign_in(hostile[:60], "wrong password")
    event = fresh.accounts.events(1, action="sign_in")[0]
    assert len(event.detail) < 1024
    assert not any(letter < " " for letter in event.detail)


def test_what_cannot_be_written_down_is_not_done(fresh, monkeypatch):
    """The audit blocks: an unsafe request of somebody we know is not carried out unseen."""
    browser = fresh.signed_in("ann", "viewer")

    def full(event):
        raise StoreFull("no space")

    monkeypatch.setattr(fresh.audit, "record", full)
    answer = fresh.ask("/sign-out", "POST", headers=browser)
    assert (answer.status_code, answer.json()["errorType"]) == (503, "unavailable")
    assert "no space" not in answer.text


def test_the_page_of_the_chain_shows_who_was_refused_to_those_who_may_read_the_audit(fresh):
    fresh.token("agent", "known-by-this-name")
    fresh.keeper.round()
    _, approver = fresh.token("approver")
    _, viewer = fresh.token("viewer")
    assert "known-by-this-name" in fresh.ask("/audit", token=approver).text
    for reader in (viewer, ""):
        page = fresh.ask("/audit", token=reader)
        assert page.status_code == 200
        assert "known-by-this-name" not in page.text
