"""The page, the API and who may ask."""

import json
import math
from concurrent.futures import ThreadPoolExecutor

import anyio
import httpx
import pytest
from tests.http.standing import Standing
from tests.steps import steps

from watchkeeper import config
from watchkeeper.http import app
from watchkeeper.testing import reports as t

FLEET = t.fleet(30)
RULES = config.default().rules


class House(Standing):
    """A house that stands still until `tick` is called."""

    def __init__(self, findings=None):
        self.seen = findings or FLEET
        self.is_ready = (True, "ready")
        self.said = {"tick": 1}
        self.rulebook = RULES

    def findings(self):
        return self.seen

    def status(self):
        return self.said

    def metrics(self, accept):
        kind = "application/openmetrics-text" if "openmetrics" in accept else "text/plain"
        body = b"# TYPE watchkeeper_up gauge\nwatchkeeper_up 1\n"
        return body, f"{kind}; version=0.0.4; charset=utf-8"

    def checks(self):
        return {"recovered": "ok", "disk": "ok" if self.is_ready[0] else self.is_ready[1]}

    def ready(self):
        return self.is_ready


def ask(house, path, method="GET", host="localhost:8470", hosts=(), headers=()):
    async def go():
        transport = httpx.ASGITransport(app(house, hosts), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            given = [("Host", host), *headers] if host is not None else list(headers)
            return await client.request(method, path, headers=given)

    return anyio.run(go)


def asked(house, path, headers=None):
    """Ask an application that stays the same between questions."""

    async def go():
        transport = httpx.ASGITransport(house, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get(path, headers=headers)

    return anyio.run(go)


def data(house, path):
    answer = ask(house, path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert body["status"] == "success"
    return body["data"]


def error(house, path, **how):
    answer = ask(house, path, **how)
    body = answer.json()
    assert body["status"] == "error"
    assert body.keys() == {"status", "errorType", "error"}
    return answer.status_code, body["errorType"], body["error"]


GET = [
    "/", "/static/page.js", "/metrics", "/api/v1/status", "/api/v1/entities",
    "/api/v1/entities/host:web-0011", "/api/v1/decisions", "/-/healthy", "/-/ready",
    "/livez", "/readyz", "/healthz",
]  # fmt: skip


@pytest.mark.parametrize("path", GET)
def test_every_address_answers_get_and_head_and_nothing_else(path):
    house = House()
    assert ask(house, path).status_code == 200
    assert ask(house, path, "HEAD").status_code == 200
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        status, kind, _ = error(house, path, method=method)
        assert (status, kind) == (405, "bad_method")


@pytest.mark.parametrize("path", [*GET, "/nowhere", "/api/v1/entities?limit=0"])
def test_every_answer_tells_a_browser_to_be_careful(path):
    headers = ask(House(), path).headers
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    # Forms of a page that tells its own server nothing would come as if from a stranger's.
    assert headers["referrer-policy"] == ("same-origin" if path == "/" else "no-referrer")


def test_what_a_client_already_has_is_not_sent_again():
    house = House()
    for path in ("/", "/api/v1/entities", "/static/page.js"):
        tag = ask(house, path).headers["etag"]
        for offered in (tag, f'"x", W/{tag}'):
            answer = ask(house, path, headers=[("If-None-Match", offered)])
            assert (answer.status_code, answer.content) == (304, b"")
            assert answer.headers["etag"] == tag
        assert ask(house, path, headers=[("If-None-Match", '"old"')]).status_code == 200


def test_ready_says_why_not():
    house = House()
    assert ask(house, "/-/ready").text == "ready\n"
    house.is_ready = (False, "recovering")
    assert ask(house, "/readyz").text == "recovering\n"
    answer = ask(house, "/readyz?verbose")
    assert answer.status_code == 503
    assert answer.text == "[+]recovered ok\n[-]disk recovering\nrecovering\n"
    assert ask(house, "/-/healthy").status_code == 200


def test_metrics_come_as_prometheus_text():
    answer = ask(House(), "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert answer.text.endswith("watchkeeper_up 1\n")
    accepted = [("Accept", "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.1")]
    modern = ask(House(), "/metrics", headers=accepted)
    assert modern.headers["content-type"].startswith("application/openmetrics-text")
    assert modern.headers["vary"] == "Accept"


def test_status_is_what_the_house_says():
    assert data(House(), "/api/v1/status") == {"tick": 1}


def test_entities_are_paged_by_name_without_gap_or_repetition():
    house, seen, after = House(), [], ""
    while True:
        page = data(house, f"/api/v1/entities?limit=7&after={after}")
        assert len(page["entities"]) <= 7
        assert page["total"] == 30
        seen += [entity["entity"] for entity in page["entities"]]
        after = page["next"]
        if after is None:
            break
    assert seen == [f"host:web-{n:04}" for n in range(30)]


def test_entities_can_be_chosen_by_state():
    found = data(House(), "/api/v1/entities?state=fail")
    assert found["total"] == 3
    assert {entity["state"] for entity in found["entities"]} == {"fail"}
    assert "line" not in found["entities"][0]
    assert found["entities"][0]["since"] == "2024-01-02T19:12:00.000Z"


def test_one_entity_comes_with_its_line_incidents_and_decisions():
    found = data(House(), "/api/v1/entities/host:web-0011")
    assert found["state"] == "fail"
    assert len(found["line"]) == 240
    assert found["incidents"][0]["signals"][0]["metric"] == "system.memory.utilization"
    assert {d["phase"] for d in found["decisions"]} == {"firing", "pending"}


@pytest.mark.parametrize("name", ["link:leaf1/Ethernet8", 'host:"><b>', "host:é 100%", "a//b"])
def test_names_with_any_characters_can_be_asked_for(name):
    table = t.health_table(t.np.array([[50.0], [20.0]]), [name])
    house = House(t.gather(table, t.scores, [], t.rejects(0), t.facts()))
    quoted = (
        "/api/v1/entities/"
        + httpx.URL("http://x/").copy_with(path="/" + name).raw_path[1:].decode()
    )
    assert data(house, quoted)["entity"] == name


def test_decisions_are_paged_newest_first():
    house, seen, after = House(), [], ""
    while True:
        page = data(house, f"/api/v1/decisions?limit=4{after}")
        seen += [decision["key"] for decision in page["decisions"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert seen == [d.key for d in house.seen.decisions]
    one = data(house, "/api/v1/decisions?entity=host:web-0011")["decisions"]
    assert {d["entity"] for d in one} == {"host:web-0011"}
    assert one[0]["trace"]["clauses"][0]["held"] is True


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/api/v1/entities?limit=0", "limit"),
        ("/api/v1/entities?limit=1001", "limit"),
        ("/api/v1/entities?limit=ten", "limit"),
        ("/api/v1/entities?limit=%C2%B2", "limit"),
        ("/api/v1/entities?limit=" + "9" * 5_000, "limit"),
        ("/api/v1/entities?state=sick", "state"),
        ("/api/v1/entities?sate=fail", "unknown parameter 'sate'"),
        ("/api/v1/status?x=1", "unknown parameter"),
        ("/api/v1/decisions?after=gone", "after"),
    ],
)
def test_a_wrong_question_is_told_what_is_wrong(path, said):
    status, kind, text = error(House(), path)
    assert (status, kind) == (400, "bad_data")
    assert said in text


def test_what_is_not_there_is_not_found():
    assert error(House(), "/api/v1/entities/host:none") == (
        404, "not_found", "no entity 'host:none'",
    )  # fmt: skip
    assert error(House(), "/api/v2/entities")[:2] == (404, "not_found")
    assert error(House(), "/../../etc/passwd")[0] == 404


def test_a_mistake_inside_tells_nothing_of_the_inside():
    house = House()
    house.said = {"secret /path": math.nan}
    answer = ask(house, "/api/v1/status")
    assert answer.status_code == 500
    assert answer.json()["errorType"] == "internal"
    assert "secret" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST.:8470", "127.0.0.1:1", "[::1]:8470", "[::1]", "watch.example:80"],
)
def test_loopback_and_the_given_names_may_be_asked(host):
    assert ask(House(), "/api/v1/status", host=host, hosts=["Watch.Example"]).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "localhost:80:90",
        "evil@localhost", "localhost evil", "", "[::2]", "0.0.0.0", "127.0.0.1:999999",
    ],
)  # fmt: skip
def test_any_other_host_is_turned_away(host):
    for path in GET:
        assert error(House(), path, host=host)[:2] == (421, "bad_host")


def test_two_hosts_in_one_request_are_turned_away():
    assert error(House(), "/", headers=[("Host", "localhost")])[0] == 421


def test_a_lifespan_message_passes_the_guard():
    sent = []

    async def go():
        messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

        async def receive():
            return next(messages)

        async def send(message):
            sent.append(message["type"])

        await app(House())({"type": "lifespan", "asgi": {}}, receive, send)

    anyio.run(go)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_ten_thousand_entities_are_a_page():
    house = House(t.fleet(10_000, 40))
    answer = ask(house, "/")
    assert "10,000" in answer.text
    assert len(answer.content) < 200_000  # the first rows; more when asked for
    assert (
        len(json.loads(ask(house, "/api/v1/entities?limit=1000").content)["data"]["entities"])
        == 1000
    )


def test_a_page_costs_few_steps_for_each_entity_that_it_does_not_show():
    small, large = (House(t.fleet(count, 40)) for count in (500, 2_500))
    ask(small, "/")  # templates are read once
    few, _ = steps(lambda: ask(small, "/"))
    many, _ = steps(lambda: ask(large, "/"))
    assert many - few < 30 * 2_000


def test_threads_may_ask_at_once():
    house = House()
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda n: ask(house, GET[n % len(GET)]).status_code, range(24)))
    assert set(got) == {200}
