"""A small OTLP collector: decodes what an exporter sends over HTTP, and keeps the spans."""

import gzip
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


class Collected(list):
    """Spans, as the protocol has them, with what their resource says of the sender."""

    def named(self, name):
        return [span for span in self.copy() if span.name == name]


class Inbox(list):
    """Requests that a webhook received: headers by lower-case name."""


@contextmanager
def listening(status=200):
    """Yield the base URL, the spans that come to /v1/traces, and what is posted elsewhere."""
    spans, inbox, resources = Collected(), Inbox(), []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            answer = b""
            if self.path == "/v1/traces" and status == 200:
                request = ExportTraceServiceRequest.FromString(body)
                for group in request.resource_spans:
                    resources.append(
                        {a.key: a.value.string_value for a in group.resource.attributes}
                    )
                    for scope in group.scope_spans:
                        spans.extend(scope.spans)
                answer = ExportTraceServiceResponse().SerializeToString()
            elif self.path != "/v1/traces":
                inbox.append({name.lower(): text for name, text in self.headers.items()})
            self.send_response(status)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", spans, inbox, resources
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
