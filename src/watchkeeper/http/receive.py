"""The doors through which telemetry is pushed: read a request within bounds, wait, answer.

A request is refused by its declared length before a byte of it is read; what is read is counted
against what may wait in all; a body that trickles in has a deadline. The answer is sent when the
journal holds everything, never before.
"""

from __future__ import annotations

import asyncio
import itertools
import queue
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from watchkeeper.access import Scope as Allowed
from watchkeeper.errors import Malformed, Overloaded, RequestError, TooLarge
from watchkeeper.http._gate import headers_of
from watchkeeper.http.table import Endpoint
from watchkeeper.intake import Intake
from watchkeeper.model import Millis
from watchkeeper.receivers import Answer, Delivery, Outcome, Receiver
from watchkeeper.waiting import cost

READ = 30.0  # seconds in which a body must have come
TENANT = "x-scope-orgid"  # as Cortex, Mimir and Loki call it
TENANT_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)


def doors(
    receivers: Sequence[Receiver],
    intake: Intake,
    clock: Callable[[], Millis],
    numbers: itertools.count[int],
) -> list[Endpoint]:
    """Return where all receivers listen.

    :param numbers: tell the requests of this process apart.
    """
    return [
        Endpoint(
            route.method,
            route.path,
            Allowed.TELEMETRY_WRITE,
            Door(receiver, intake, clock, numbers),
        )
        for receiver in receivers
        for route in receiver.routes
    ]


def taker(
    receiver: Receiver, intake: Intake, clock: Callable[[], Millis], numbers: itertools.count[int]
) -> Callable[[Delivery], Outcome]:
    """Return what takes a delivery in and waits until all of it is durable, on any thread.

    It says itself when the delivery arrived, and gives it its number.
    """

    def take(delivery: Delivery) -> Outcome:
        delivery = replace(delivery, arrived=clock(), number=next(numbers))
        told: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        try:
            tenant = _tenant(delivery.headers)
            intake.admit(receiver, tenant)
            intake.reserve(cost(len(delivery.body)))
        except RequestError as error:
            intake.count(receiver, error)
            return error
        intake.deliver(receiver, replace(delivery, tenant=tenant), told.put)
        return told.get()

    return take


class Door:
    """One receiver's ASGI application."""

    def __init__(
        self,
        receiver: Receiver,
        intake: Intake,
        clock: Callable[[], Millis],
        numbers: itertools.count[int],
    ) -> None:
        self._receiver, self._intake, self._clock = receiver, intake, clock
        self._numbers = numbers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one request in, or say why not."""
        intake, headers = self._intake, headers_of(scope)
        arrived, number = self._clock(), next(self._numbers)

        def delivery(tenant: str = "", body: bytes = b"") -> Delivery:
            query = scope["query_string"].decode("latin-1")
            asked = dict(parse_qsl(query, keep_blank_values=True)) if query else {}
            method, path = scope["method"], scope["path"]
            return Delivery(method, path, asked, headers, body, arrived, tenant, number)

        try:
            tenant = _tenant(headers)
            intake.admit(self._receiver, tenant)
            body = await _body(intake, headers, receive)
            whole = delivery(tenant, body)
            outcome = await self._durable(whole)
        except (RequestError, MemoryError) as error:
            lacking = Overloaded("no memory is left for this", retry_after=5)
            outcome = error if isinstance(error, RequestError) else lacking
            intake.count(self._receiver, outcome)
            whole = delivery()
        except ClientDisconnect:
            return
        await _send(self._receiver.answer(whole, outcome), send)

    async def _durable(self, delivery: Delivery) -> Outcome:
        """Wait until all of a request is durable, or was refused."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Outcome] = loop.create_future()

        def told(outcome: Outcome) -> None:
            try:
                loop.call_soon_threadsafe(_settle, done, outcome)
            except RuntimeError:  # nobody waits for answers any more
                return

        self._intake.deliver(self._receiver, delivery, told)
        return await done


async def _body(intake: Intake, headers: Mapping[str, str], receive: Receive) -> bytes:
    """Return the body; as many bytes as it costs stay reserved."""
    limit = intake.limits.body
    declared = headers.get("content-length")
    expected = int(declared) if declared is not None and declared.isdigit() else None
    if expected is not None and expected > limit:
        raise TooLarge(f"the body has {expected} bytes; at most {limit} are read")
    reserved = cost(expected or 0)
    intake.reserve(reserved)
    try:
        parts: list[bytes] = []
        size = 0
        async with asyncio.timeout(READ):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                part = message.get("body", b"")
                size += len(part)
                if size > limit:
                    raise TooLarge(f"the body has more than {limit} bytes")
                if cost(size) > reserved:
                    intake.reserve(cost(size) - reserved)
                    reserved = cost(size)
                parts.append(part)
                if not message.get("more_body", False):
                    break
    except TimeoutError:
        intake.release(reserved)
        raise Overloaded(f"the body took longer than {READ:g} s", retry_after=5) from None
    except BaseException:
        intake.release(reserved)
        raise
    intake.release(reserved - cost(size))
    return b"".join(parts)


def _tenant(headers: Mapping[str, str]) -> str:
    """Return whose telemetry it is.

    :raises Malformed: that is no name, or a page of a stranger, open in somebody's browser, wants
        to push into this house.
    """
    if "origin" in headers or headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        raise Malformed("telemetry is not taken from web pages")
    tenant = headers.get(TENANT, "")
    if tenant and TENANT_NAME.fullmatch(tenant) is None:
        raise Malformed(f"{TENANT}: 1 to 64 letters, digits, dots, dashes or underscores")
    return tenant


def _settle(done: asyncio.Future[Outcome], outcome: Outcome) -> None:
    if not done.done():
        done.set_result(outcome)


async def _send(answer: Answer, send: Send) -> None:
    headers = [(n.lower().encode(), v.encode("latin-1")) for n, v in answer.headers.items()]
    if answer.status != 204:
        headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
