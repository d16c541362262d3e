"""What machines ask of the process itself: is it up, is it ready, its metrics."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from watchkeeper.access import Scope
from watchkeeper.http.answers import text
from watchkeeper.http.table import Endpoint
from watchkeeper.http.view import HouseView


def endpoints(view: HouseView) -> list[Endpoint]:
    """Return the probes, under the names that Prometheus' and Kubernetes' users know."""

    def healthy(request: Request) -> Response:
        return text("watchkeeper is up\n")

    def ready(request: Request) -> Response:
        is_ready, why = view.ready()
        lines = [f"{why}\n"]
        if "verbose" in request.query_params:  # as Kubernetes asks
            lines[:0] = [
                f"[{'+' if state == 'ok' else '-'}]{name} {state}\n"
                for name, state in view.checks().items()
            ]
        return text("".join(lines), 200 if is_ready else 503)

    def metrics(request: Request) -> Response:
        body, kind = view.metrics(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": kind, "Vary": "Accept"})

    up = ("/-/healthy", "/livez", "/healthz")
    return [
        Endpoint("GET", "/metrics", Scope.METRICS_READ, metrics),
        *(Endpoint("GET", path, Scope.PUBLIC, healthy) for path in up),
        *(Endpoint("GET", path, Scope.PUBLIC, ready) for path in ("/-/ready", "/readyz")),
    ]
