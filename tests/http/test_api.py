"""The API over a filled house: pages, history, orders, quarantine, tokens, audit, document."""

import json

import pyarrow as pa
import pytest
from tests.commands import wk
from tests.guarded import NOW, Site
from tests.http.standing import REPORT

from watchkeeper import http
from watchkeeper.access import Role, Scope
from watchkeeper.http.api.document import document
from watchkeeper.model import KEYS, REJECTS, SAMPLES, Batch, Checked, Cursor, Millis
from watchkeeper.testing import ledger as t


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    site = Site(tmp_path_factory.mktemp("api"))
    for tick in range(NOW - 5000, NOW, 1000):
        site.ledger.commit(t.step(tick, ("host:a", "link:leaf1/Ethernet8")))
    orders = [order for order, _ in site.ledger.orders(100)]
    for order, outcome in zip(orders[:3], ("dead", "refused", "done"), strict=True):
        site.ledger.settle(t.receipt(order, 1, outcome, NOW))
    site.journal.append([rejected("below_bound", 3), rejected("too_old", 2)])
    yield site
    site.close()


def rejected(reason, count):
    rows = [
        {
            "entity": "host:a", "metric": "system.cpu.utilization", "attributes": "{}",
            "unit": "1", "time": NOW if n else -(2**62), "value": float("nan") if n else -1.0,
            "offered": None, "reason": reason, "detail": "below 0", "origin": f"test:{n}",
        }
        for n in range(count)
    ]  # fmt: skip
    names = set(REJECTS.names)
    mine = [{name: row[name] for name in row if name in names} for row in rows]
    table = pa.RecordBatch.from_pylist(mine, REJECTS)
    empty = Batch(
        "test", Cursor(reason), pa.RecordBatch.from_pylist([], KEYS),
        pa.RecordBatch.from_pylist([], SAMPLES), table,
    )  # fmt: skip
    return Checked("test", Cursor(reason), Millis(NOW), empty.keys, empty.samples, table, count)


def data(site, path, method="GET", role=Role.ADMIN, status=200, **how):
    answer = site.ask(path, method, site.of_each_role()[role], **how)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer.json()["data"]


def refusal(site, path, method="GET", role=Role.ADMIN, **how):
    answer = site.ask(path, method, site.of_each_role()[role], **how)
    return answer.status_code, answer.json()["errorType"]


def pages(site, path, name):
    """Return everything, page by page."""
    seen, more = [], ""
    mark = "&" if "?" in path else "?"
    while True:
        page = data(site, f"{path}{mark}limit=2{more}")
        assert len(page[name]) <= 2
        seen += page[name]
        if page["next"] is None:
            return seen
        more = f"&after={page['next']}"


def test_entities_come_worst_first_when_asked_to_page_by_page(site):
    everything = pages(site, "/api/v1/entities?sort=worst", "entities")
    states = [one["state"] for one in everything]
    ranks = ["fail", "warn", "unknown", "ok"]
    assert states == sorted(states, key=ranks.index)
    assert len({one["entity"] for one in everything}) == len(everything) == 30
    assert data(site, "/api/v1/entities?type=link")["total"] == 0
    assert refusal(site, "/api/v1/entities?sort=best") == (400, "bad_data")


def test_entities_are_chosen_by_label_and_group(site):
    names = [one["entity"] for one in data(site, "/api/v1/entities?limit=1000")["entities"]]
    racked = site.view.labelled("rack=r1")
    for asked in ("label=rack=r1", "group=rack%3Dr1", "label=rack&group=host", "group=host"):
        found = data(site, f"/api/v1/entities?{asked}&limit=1000")
        chosen = racked if "rack" in asked else set(names)
        assert {one["entity"] for one in found["entities"]} == set(names) & chosen
    assert data(site, "/api/v1/entities?group=link")["total"] == 0


def test_signals_are_paged_by_name_each_with_its_band_and_score(site):
    everything = pages(site, "/api/v1/signals", "signals")
    names = [(one["entity"], one["metric"]) for one in everything]
    assert names == sorted(set(names))
    assert len(names) == 60
    one = everything[0]
    assert (one["attributes"], one["time"]) == ({"cpu": "0"}, "2001-09-09T01:46:40.000Z")
    assert (one["value"], one["expected"], one["upper"]) == (0.97, None, 0.5)
    odd = pages(site, "/api/v1/signals?score=1&label=rack", "signals")
    assert {one["metric"] for one in odd} == {"cpu"}
    assert {one["entity"] for one in odd} == site.view.labelled("rack")
    entity = names[0][0]
    mine = data(site, f"/api/v1/signals?entity={entity}&metric=memory")["signals"]
    assert [(one["entity"], one["metric"]) for one in mine] == [(entity, "memory")]
    for wrong in ("score=high", "score=-1", "after=x", "after=WzFd", "sort=name"):
        assert refusal(site, f"/api/v1/signals?{wrong}") == (400, "bad_data")
    viewer = site.of_each_role()[Role.VIEWER]
    tag = site.ask("/api/v1/signals", token=viewer).headers["etag"]
    again = site.ask("/api/v1/signals", "GET", viewer, {"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")


def test_the_history_of_an_entity_is_what_the_ledger_kept(site):
    found = data(site, "/api/v1/history?entity=link:leaf1/Ethernet8")["history"]
    assert len(found) == 5
    assert found[0]["time"] < found[-1]["time"]
    assert found[0]["contributions"][0]["share"] == 2 / 3
    since = found[3]["time"]
    some = data(site, f"/api/v1/history?entity=link:leaf1/Ethernet8&since={since}")
    assert [one["time"] for one in some["history"]] == [one["time"] for one in found[3:]]
    offset = since.replace("Z", "+00:00")  # the plus sign is often not quoted
    assert data(site, f"/api/v1/history?entity=link:leaf1/Ethernet8&since={offset}") == some
    assert refusal(site, "/api/v1/history") == (400, "bad_data")
    for when in ("yesterday", "2026-01-01T00:00:00", "99999999999999", "-1"):
        assert refusal(site, f"/api/v1/history?entity=x&since={when}") == (400, "bad_data")


def test_a_decision_comes_with_its_trace_and_what_it_owes(site):
    key = f"hot:host:a:{NOW - 1000}"
    found = data(site, f"/api/v1/decisions/{key}")
    assert found["trace"] == {"clauses": []}
    assert found["orders"] == [f"order:{key}"]
    assert refusal(site, "/api/v1/decisions/none") == (404, "not_found")


def test_orders_are_paged_newest_first_and_each_has_its_receipts(site):
    everything = pages(site, "/api/v1/orders", "orders")
    assert len({one["key"] for one in everything}) == 10
    created = [one["created"] for one in everything]
    assert created == sorted(created, reverse=True)
    one = data(site, f"/api/v1/orders/{everything[0]['key']}")
    assert one["receipts"][0]["outcome"] == "dead"
    assert refusal(site, "/api/v1/orders/none") == (404, "not_found")
    assert refusal(site, "/api/v1/orders?after=none") == (400, "bad_data")


def test_only_what_was_given_up_or_refused_is_tried_again_and_the_receipt_says_who_asked(site):
    orders = data(site, "/api/v1/orders?limit=1000")["orders"]
    closed = [one for one in orders if one["receipt"]]
    dead, refused, done = (one["key"] for one in closed)
    for key in (done, orders[-1]["key"]):
        assert refusal(site, f"/api/v1/orders/{key}/retry", "POST") == (409, "conflict")
    for key in (dead, refused):
        told = data(site, f"/api/v1/orders/{key}/retry", "POST", Role.OPERATOR)
        assert told["receipt"]["outcome"] == "retry"
        assert told["receipt"]["detail"].startswith("asked for by token:")
        assert refusal(site, f"/api/v1/orders/{key}/retry", "POST") == (409, "conflict")
    assert refusal(site, f"/api/v1/orders/{done}/retry", "POST", Role.VIEWER) == (403, "forbidden")
    assert ("allowed", f"POST /api/v1/orders/{dead}/retry") in [
        (outcome, action) for _, action, outcome in site.events()
    ]


def test_rejected_samples_are_paged_without_gap_or_repetition(site):
    everything = pages(site, "/api/v1/quarantine", "samples")
    assert [one["reason"] for one in everything] == ["below_bound"] * 3 + ["too_old"] * 2
    assert len({one["place"] for one in everything}) == 5
    assert everything[0]["value"] == -1.0
    assert everything[1]["value"] is None
    assert everything[1]["offered"] == "nan"
    assert everything[0]["time"].endswith(" ms")
    assert len(pages(site, "/api/v1/quarantine?reason=too_old", "samples")) == 2
    for wrong in ("after=x", "after=1.-1", "after=" + "9" * 40 + ".1", "reason=odd"):
        assert refusal(site, f"/api/v1/quarantine?{wrong}") == (400, "bad_data")


def test_collectors_models_and_reports_can_be_read(site):
    rows = data(site, "/api/v1/collectors")["collectors"]
    assert [(row["name"], row["state"]) for row in rows] == [("edge", "refused"), ("host", "ok")]
    assert rows[0]["targets"][0]["state"] == "open"
    models = data(site, "/api/v1/models")
    assert models["rulebook"] == site.view.rulebook.digest
    assert all(len(one["digest"]) == 64 for one in models["contracts"])
    assert data(site, "/api/v1/reports")["now"] == ["html", "json", "text", "parquet"]
    viewer = site.of_each_role()[Role.VIEWER]
    report = site.ask("/api/v1/reports/now?format=json", token=viewer)
    assert json.loads(report.content)["schema"] == "watchkeeper.report/1"
    tag = report.headers["etag"]
    again = site.ask("/api/v1/reports/now?format=json", "GET", viewer, {"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    assert refusal(site, "/api/v1/reports/now?format=../../etc/passwd") == (400, "bad_data")


def test_reports_that_were_made_are_paged_and_each_file_is_had_as_it_was_made(site):
    made = pages(site, "/api/v1/reports?name=daily", "reports")
    assert [one["stamp"] for one in made] == ["20261116T060000Z", "20261115T060000Z"]
    assert data(site, "/api/v1/reports?name=weekly")["total"] == 0
    assert data(site, "/api/v1/reports?limit=1")["next"] == "daily/20261116T060000Z"
    assert refusal(site, "/api/v1/reports?after=daily/never") == (400, "bad_data")
    viewer = site.of_each_role()[Role.VIEWER]
    path = made[0]["files"][0]["path"]
    for where in (path, path.removeprefix("/api/v1")):
        answer = site.ask(where, token=viewer)
        assert answer.content == REPORT
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    for gone in (made[1]["files"][0]["path"], path + "x", "/api/v1/reports/..%2f/x/html"):
        assert site.ask(gone, token=viewer).status_code == 404
    page = site.ask("/reports", token=viewer).text
    assert page.count("/reports/daily/") == 2


def test_a_token_is_made_used_rotated_and_revoked_over_the_api(site):
    made = data(site, "/api/v1/tokens", "POST", status=201, json={"name": "new", "role": "viewer"})
    assert site.ask("/api/v1/status", token=made["token"]).status_code == 200
    listed = data(site, "/api/v1/tokens")["tokens"]
    assert made["id"] in [one["id"] for one in listed]
    assert not any("token" in one or "digest" in one for one in listed)
    path = f"/api/v1/tokens/{made['id']}"
    rotated = data(site, f"{path}/rotate", "POST", json={})
    assert site.ask("/api/v1/status", token=made["token"]).status_code == 401
    assert site.ask("/api/v1/status", token=rotated["token"]).status_code == 200
    assert data(site, path, "DELETE")["state"] == "revoked"
    assert site.ask("/api/v1/status", token=rotated["token"]).status_code == 401
    assert refusal(site, f"{path}/rotate", "POST", json={}) == (409, "conflict")
    assert refusal(site, "/api/v1/tokens/none", "DELETE") == (404, "not_found")
    event = data(site, "/api/v1/audit?action=token.create")["events"][0]
    assert event["who"].startswith("token:")
    assert event["detail"]["name"] == "new"
    assert event["link"] is not None


def test_nobody_gives_away_more_than_he_has(site):
    asked = {"name": "mine", "role": "approver"}
    assert refusal(site, "/api/v1/tokens", "POST", json=asked) == (403, "forbidden")
    id, _ = site.token("approver")
    assert refusal(site, f"/api/v1/tokens/{id}/rotate", "POST", json={}) == (403, "forbidden")


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"{", b"null", b'{"name":"x"}', b'{"name":1,"role":"viewer"}',
        b'{"name":"x","role":"root"}', b'{"name":"../x","role":"viewer"}',
        b'{"name":"x","role":"viewer","expires_in":0}', b'{"name":"x","role":"viewer","more":1}',
        b'{"name":"x","role":"viewer","expires_in":true}', b"[" * 10_000, b"\xff",
    ],
)  # fmt: skip
def test_a_body_that_is_not_as_it_must_be_makes_no_token(site, body):
    before = len(site.accounts.book().tokens)
    assert refusal(site, "/api/v1/tokens", "POST", content=body) == (400, "bad_data")
    assert len(site.accounts.book().tokens) == before


def test_a_body_without_end_is_not_read(site):
    assert refusal(site, "/api/v1/tokens", "POST", content=b" " * 20_000) == (413, "too_large")


def test_the_audit_is_paged_and_filtered(site):
    everything = pages(site, "/api/v1/audit", "events")
    numbers = [one["number"] for one in everything]
    assert numbers == sorted(numbers, reverse=True)
    assert len(set(numbers)) == len(numbers)
    assert data(site, "/api/v1/audit?since=2200-01-01T00:00:00Z")["events"] == []
    assert data(site, "/api/v1/audit?who=nobody")["events"] == []
    for wrong in ("after=x", "outcome=odd", "since=soon", "after=" + "9" * 30):
        assert refusal(site, f"/api/v1/audit?{wrong}") == (400, "bad_data")


def test_the_document_is_printed_without_a_house(site, capsys):
    assert wk("schema", "openapi") == 0
    assert json.loads(capsys.readouterr().out) == site.ask("/api/v1/openapi.json").json()


def test_the_document_says_what_the_table_holds(site):
    told = site.ask("/api/v1/openapi.json").json()
    endpoints = [
        one for one in http.endpoints(site.view, site.keeper) if one.path.startswith("/api/v1/")
    ]
    assert all(one.says is not None for one in endpoints), "an address of the API says nothing"
    found = {
        (method.upper(), path, operation["x-scope"])
        for path, operations in told["paths"].items()
        for method, operation in operations.items()
    }
    assert found == {
        (one.method, one.path.replace(":name", ""), str(one.scope)) for one in endpoints
    }
    names = [op["operationId"] for ops in told["paths"].values() for op in ops.values()]
    assert len(set(names)) == len(names)
    assert told == json.loads(json.dumps(document(endpoints)))
    assert Scope.PUBLIC in {scope for _, _, scope in found}


def test_an_operator_offers_rejected_samples_again_and_a_viewer_does_not(site):
    path = "/api/v1/quarantine/replay?reason=too_old"
    assert refusal(site, path, "POST", Role.VIEWER) == (403, "forbidden")
    told = data(site, path, "POST", Role.OPERATOR)
    assert told == {"offered": 5, "accepted": 3}
    assert site.view.replayed[0] == "too_old"
    assert site.view.replayed[1].startswith("token:")
    busy = "/api/v1/quarantine/replay?reason=malformed"
    assert refusal(site, busy, "POST", Role.OPERATOR) == (503, "unavailable")
    assert refusal(site, "/api/v1/quarantine/replay?reason=odd", "POST") == (400, "bad_data")
