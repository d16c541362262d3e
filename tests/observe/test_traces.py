"""One trace passes through the whole house, and a whole run logs in one schema."""

import json
import os
import re
import signal
import threading
import time
import urllib.request

import jsonschema
import pytest
from tests.commands import process
from tests.observe.otlp_collector import listening
from tests.test_intake import NOW, begun, push
from tests.test_intake import line as sample

from watchkeeper.journal.sqlite import Sqlite
from watchkeeper.observe.events import BY_NAME, schema
from watchkeeper.observe.spans import Spans

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{CALLER}-01"
CONFIG = """
version: 1
listen: 127.0.0.1:0
sources: []
flags: {{action.webhook: true}}
tracing: {{endpoint: "{url}/v1/traces", sample: 1.0}}
actions:
  hook: {{type: webhook, url: "{url}/hook"}}
  gone: {{type: webhook, url: "http://127.0.0.1:9/gone"}}
policies:
  - name: any-loss
    match: {{types: [host]}}
    when: "health < 99.0"
    for: 0s
    mode: auto
    action: [hook, gone]
"""


def asked(url, body=None, **headers):
    request = urllib.request.Request(url, body, headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read()


def lines():
    at = int(time.time()) - 600
    for minute in range(10):
        yield json.dumps(
            {"timestamp": at + 60 * minute, "entity": "host:web-1",
             "metric": "system.filesystem.utilization", "value": 0.99}
        )  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A house that was pushed to once, asked for its entities, and told to stop."""
    folder = tmp_path_factory.mktemp("traced")
    with listening() as (url, spans, inbox, resources):
        (folder / "wk.yaml").write_text(CONFIG.format(url=url))
        told = ("run", "--config", "wk.yaml", "--data", "data", "--log-format", "json")
        with process(*told, "--log-level", "debug", cwd=folder) as one:
            logged = []
            reader = threading.Thread(target=lambda: logged.extend(one.stderr), daemon=True)
            reader.start()
            try:
                until(lambda: any('"ready"' in line for line in logged), one)
                address = json.loads(next(line for line in logged if '"ready"' in line))[
                    "address"
                ].rstrip("/")
                body = "\n".join(lines()).encode()
                sent = {"content-type": "application/x-ndjson", "traceparent": PARENT}
                asked(f"{address}/api/v1/samples", body, **sent)
                until(lambda: inbox, one)
                asked(f"{address}/api/v1/entities")
                metrics = asked(
                    f"{address}/metrics", accept="application/openmetrics-text"
                ).decode()
                until(lambda: [s for s in spans.named("report") if s.trace_id.hex() == TRACE], one)
                until(lambda: any("delivery_failed" in line for line in logged), one)
                os.kill(one.pid, signal.SIGTERM)
                assert one.wait(60) == 0
                reader.join(10)
            finally:
                one.kill()
    return spans, inbox, resources, [json.loads(line) for line in logged], metrics


def until(holds, one, seconds=150):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came"
        assert one.poll() is None, "it ended"
        time.sleep(0.1)


def of(spans, name):
    """The spans of one name in the caller's trace."""
    return [span for span in spans.named(name) if span.trace_id.hex() == TRACE]


def test_one_trace_leads_from_the_request_through_all_stages_to_the_report(run):
    spans, _, resources, _, _ = run
    assert all(one["service.name"] == "watchkeeper" for one in resources)
    (receive,), (ingest,) = of(spans, "receive"), of(spans, "ingest")
    assert receive.parent_span_id.hex() == CALLER
    above = {"ingest": receive}
    for name, parent in (
        ("decode", "ingest"), ("check", "ingest"), ("journal", "ingest"), ("score", "ingest"),
        ("conclude", "score"), ("commit", "conclude"), ("act", "commit"), ("report", "commit"),
    ):  # fmt: skip
        found = of(spans, name)
        assert found, f"no span {name} in the caller's trace"
        parents = {span.span_id for span in of(spans, parent)}
        assert {span.parent_span_id for span in found} <= parents, name
        above[name] = found[0]
    assert ingest.parent_span_id == receive.span_id
    assert all(span.end_time_unix_nano >= span.start_time_unix_nano > 0 for span in spans)


def test_a_span_says_what_was_worked_on(run):
    spans = run[0]
    (score,) = of(spans, "score")
    said = {one.key: one.value for one in score.attributes}
    assert said["watchkeeper.samples"].int_value == 10
    assert said["watchkeeper.offset"].int_value > 0
    failed = [span for span in of(spans, "act") if span.status.code == 2]
    assert failed, "the order that nobody took is an error"
    assert len(of(spans, "act")) >= 2
    every = {span.span_id for span in spans}
    assert len(every) == len(spans), "no id is used twice"


def test_the_receiver_of_a_webhook_can_go_on_in_the_trace(run):
    spans, inbox = run[0], run[1]
    acts = {span.span_id.hex() for span in of(spans, "act")}
    assert inbox
    for headers in inbox:
        version, trace, span, flags = headers["traceparent"].split("-")
        assert (version, trace, flags) == ("00", TRACE, "01")
        assert span in acts


def test_every_line_of_a_whole_run_keeps_to_the_schema(run):
    logged = run[3]
    check = jsonschema.Draft202012Validator(schema())
    for line in logged:
        check.validate(line)
    met = [line["event"] for line in logged]
    for name in ("starting", "ready", "decided", "delivered", "delivery_failed", "stopping"):
        assert name in met, name
    assert met[-1] == "stopped"
    decided = next(line for line in logged if line["event"] == "decided")
    assert (decided["trace_id"], decided["stage"]) == (TRACE, "decide")
    assert decided["entity"] == "host:web-1"
    assert decided["entry"] > 0
    assert set(met) <= set(BY_NAME)


def test_a_slow_bucket_leads_to_its_trace(run):
    metrics = run[4]
    exemplars = re.findall(r'(watchkeeper_\w+_bucket)\{.*# \{.*trace_id="(\w+)"', metrics)
    assert (
        "watchkeeper_request_duration_seconds_bucket", TRACE
    ) in exemplars  # fmt: skip
    assert re.search(r'watchkeeper_spans_total\{outcome="exported"\} [1-9]', metrics)


def test_without_traces_a_request_makes_neither_context_nor_span(tmp_path, monkeypatch):
    """However many requests share a round, no more is made than for one."""
    journal = Sqlite(path=tmp_path / "journal.sqlite").open()
    intake, made = begun(journal), []
    whole = Spans.child
    monkeypatch.setattr(Spans, "child", lambda *of: made.append("child") or whole(*of))
    monkeypatch.setattr(Spans, "finish", lambda _self, name, *_, **__: made.append(name))
    counts = []
    for requests in (1, 40):
        told = [push(intake, sample(at=NOW + requests + k)) for k in range(requests)]
        assert intake.round(0)
        assert all(one[0].accepted == 1 for one in told)
        counts.append(made.copy())
        made.clear()
    journal.close()
    assert counts[0] == counts[1]
    assert "ingest" in counts[0], "of a round it is made"


@pytest.mark.parametrize("status", [503, 400])
def test_a_collector_that_takes_nothing_costs_spans_and_nothing_else(status):
    from watchkeeper.observe.export import Exporter
    from watchkeeper.observe.settings import Tracing
    from watchkeeper.observe.witness import Witness

    said = []
    with listening(status) as (url, *_):
        settings = Tracing(endpoint=f"{url}/v1/traces", queue=8, timeout=0.5)
        exporter = Exporter(settings, lambda why, count: said.append((why, count)))
        witness = Witness(exporter, 1.0, counts=exporter.counts)
        for _ in range(100):
            with witness.round([])[0]:
                pass
        exporter.close(10)
    counts = exporter.counts
    assert counts["exported"] == 0
    assert counts["dropped"] + counts["failed"] == 100
    assert counts["dropped"] >= 1, "the queue is bounded"
    assert sum(count for _, count in said) == counts["failed"]
