"""OpenTelemetry metrics over gRPC, for senders that cannot speak HTTP. An extra: needs grpcio.

A call is one delivery with a protobuf body; what decodes and answers it is the receiver `otlp`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

from watchkeeper.errors import AccessError, ConfigError, Forbidden, RequestError
from watchkeeper.model import Millis
from watchkeeper.receivers import Delivery, Outcome
from watchkeeper.receivers.otlp import (
    PROTOBUF,
    RESOURCE_EXHAUSTED,
    UNAVAILABLE,
    Otlp,
    status_bytes,
    status_of,
)

SERVICE, METHOD = "opentelemetry.proto.collector.metrics.v1.MetricsService", "Export"
MESSAGE_MAX = 20 << 20  # bytes after unpacking; what is longer is refused before it is read
THREADS = 8  # calls at once; the others wait in gRPC's own queue
# Running and waiting. Beyond, gRPC itself answers RESOURCE_EXHAUSTED without a RetryInfo, which
# makes senders drop the data; so it is far off. The body of a call that waits is not read yet.
CALLS_MAX = 4096
DETAILS = "grpc-status-details-bin"


def serve(
    receiver: Otlp,
    host: str,
    port: int,
    take: Callable[[Delivery], Outcome],
    admit: Callable[[Mapping[str, str], str], None] = lambda _headers, _peer: None,
    tls: tuple[bytes, bytes, bytes | None] | None = None,
) -> tuple[int, Callable[[float], None]]:
    """Listen for exports; return the port and what stops it within so many seconds.

    :param port: 0 takes a free one.
    :param take: makes a delivery durable; called from several threads at once. Headers of the
        delivery are the call's metadata; number and tenant are for `take` to fill in.
    :param admit: raises AccessError when a call with this metadata is not let in.
    :param tls: PEM bytes of key and certificate, and of the authorities one of which every client
        must show a certificate of; None where none is asked for.
    :raises ConfigError: grpcio is not installed, or the port is taken.
    """
    grpc = _grpc()
    handler = grpc.unary_unary_rpc_method_handler(_Export(grpc, receiver, take, admit))
    server = grpc.server(
        ThreadPoolExecutor(THREADS, thread_name_prefix="otlp-grpc"),
        options=[
            ("grpc.max_receive_message_length", MESSAGE_MAX),
            ("grpc.so_reuseport", 0),  # or two houses would share a port without a word
        ],
        maximum_concurrent_rpcs=CALLS_MAX,
    )
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler})]
    )
    try:
        bound = (
            server.add_insecure_port(f"{host}:{port}")
            if tls is None
            else server.add_secure_port(f"{host}:{port}", _credentials(grpc, *tls))
        )
    except RuntimeError as error:
        raise ConfigError(f"cannot listen on {host}:{port}: {error}") from None
    server.start()

    def stop(grace: float) -> None:
        server.stop(grace).wait()

    return bound, stop


def _grpc() -> ModuleType:
    try:
        import grpc
    except ImportError:
        raise ConfigError(
            "OTLP over gRPC needs grpcio", hint="pip install watchkeeper[otlp-grpc]"
        ) from None
    return grpc


class _Export:
    """Answers one call: bytes in, bytes out."""

    def __init__(
        self,
        grpc: Any,
        receiver: Otlp,
        take: Callable[[Delivery], Outcome],
        admit: Callable[[Mapping[str, str], str], None],
    ) -> None:
        self._take, self._receiver, self._admit = take, receiver, admit
        self._nobody = grpc.StatusCode.UNAUTHENTICATED
        self._denied = grpc.StatusCode.PERMISSION_DENIED
        self._codes = {
            RESOURCE_EXHAUSTED: grpc.StatusCode.RESOURCE_EXHAUSTED,
            UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
        }
        self._otherwise = grpc.StatusCode.INVALID_ARGUMENT

    def __call__(self, body: bytes, context: Any) -> bytes:
        delivery = Delivery(
            "POST",
            f"/{SERVICE}/{METHOD}",
            {},
            {**_headers(context.invocation_metadata()), "content-type": PROTOBUF},
            body,
            Millis(0),  # whoever takes it says when that was
        )
        try:
            self._admit(delivery.headers, context.peer())
        except AccessError as error:
            denied = isinstance(error, Forbidden)
            context.abort(self._denied if denied else self._nobody, str(error.args[0]))
        outcome = self._take(delivery)
        if isinstance(outcome, RequestError):
            code, message = status_of(outcome)
            told = status_bytes(code, message, outcome.retry_after)
            context.set_trailing_metadata(((DETAILS, told),))
            context.abort(self._codes.get(code, self._otherwise), message)
        return self._receiver.answer(delivery, outcome).body


def _credentials(grpc: Any, key: bytes, certificate: bytes, clients: bytes | None) -> Any:
    return grpc.ssl_server_credentials([(key, certificate)], clients, clients is not None)


def _headers(metadata: Iterable[tuple[str, str | bytes]]) -> dict[str, str]:
    """Return the metadata that is text. gRPC has unpacked the body already."""
    return {
        name: value
        for name, value in metadata
        if isinstance(value, str) and name not in ("content-encoding", "grpc-encoding")
    }
