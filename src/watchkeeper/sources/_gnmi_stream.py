"""How one device is spoken with: capabilities, a stream of updates, or a single answer."""

from __future__ import annotations

import importlib
import ssl
import threading
import time
from collections.abc import Sequence
from pathlib import Path as File
from typing import Any, NamedTuple

from watchkeeper.errors import ConfigError, InputError
from watchkeeper.secret import Secret
from watchkeeper.sources._gnmi_paths import Path, steps

ENCODINGS = ("proto", "json_ietf", "json")  # as we would rather have them
_SPEC = "pygnmi.spec.v080"


class Library(NamedTuple):
    """The packages it needs: grpc, messages, stubs."""

    grpc: Any
    messages: Any
    stubs: Any


def library() -> Library:
    """Return the packages.

    :raises ConfigError: they are not installed.
    """
    try:
        names = ("grpc", f"{_SPEC}.gnmi_pb2", f"{_SPEC}.gnmi_pb2_grpc")
        return Library(*map(importlib.import_module, names))
    except ImportError as error:
        raise ConfigError(
            f"gnmi: {error.name} is not installed", hint="pip install watchkeeper[gnmi]"
        ) from error


class Terms(NamedTuple):
    """How devices are spoken with. :param trust: what `grpc.secure_channel` wants; None: plain."""

    trust: Any
    tls_name: str
    user: str
    password: Secret
    encoding: str
    body_bytes: int
    sample: int  # nanoseconds between samples
    heartbeat: int  # nanoseconds after which unchanged values are told again; 0: never

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What is sent with every call."""
        if not self.user:
            return ()
        return ("username", self.user), ("password", self.password.reveal())


class Wire:
    """One connection to one device, and the stream on it. `close` ends both, from any thread."""

    def __init__(self, library: Library, where: str, terms: Terms) -> None:
        self._library, self._terms = library, terms
        options: list[tuple[str, int | str]] = [
            ("grpc.max_receive_message_length", terms.body_bytes),
            ("grpc.use_local_subchannel_pool", 1),  # or a refusal would be remembered for others
            ("grpc.enable_http_proxy", 0),
            ("grpc.enable_retries", 0),  # the rounds try again, within their budget
        ]
        if terms.tls_name:
            options.append(("grpc.ssl_target_name_override", terms.tls_name))
        if terms.trust is None:
            self._channel = library.grpc.insecure_channel(where, options)
        else:
            self._channel = library.grpc.secure_channel(where, terms.trust, options)
        self._stub = library.stubs.gNMIStub(self._channel)
        self._changed = threading.Condition()
        self._came: list[Any] = []
        self._size, self._call, self._unknown = 0, None, False
        self.synced, self.ended = False, ""
        self.heard = time.monotonic()

    def subscribe(self, paths: Sequence[Path], deadline: float) -> None:
        """Begin the stream. :raises InputError: the device does not answer."""
        request = self._request(paths, self._encoding(deadline))
        self._call = self._stub.Subscribe(iter([request]), metadata=self._terms.metadata)
        threading.Thread(target=self._read, name="gnmi-stream", daemon=True).start()

    def get(self, paths: Sequence[Path], deadline: float) -> list[Any]:
        """Ask once. :raises InputError: the device does not answer."""
        messages = self._library.messages
        request = messages.GetRequest(
            path=[self._path(path.path) for path in paths],
            encoding=self._encoding(deadline),
        )
        answer = self._asked(self._stub.Get, request, deadline)
        return list(answer.notification)

    def take(self, deadline: float) -> list[Any]:
        """Return what came since the last time, once everything has been told.

        :raises InputError: the stream ended, or the device did not tell everything in time.
        """
        with self._changed:
            while not (self.synced or self.ended):
                if not self._changed.wait(max(0.0, deadline - time.monotonic())):
                    raise InputError("not everything was told in time (no sync_response)")
            if self._unknown:
                raise Unimplemented(self.ended)
            if not self.synced:
                raise InputError(self.ended)
            came, self._came, self._size = self._came, [], 0
            return came

    def close(self) -> None:
        """End the stream and the connection."""
        if self._call is not None:
            self._call.cancel()
        self._channel.close()

    def _read(self) -> None:
        grpc, ended = self._library.grpc, "the device ended the stream"
        assert self._call is not None
        try:
            for answer in self._call:
                with self._changed:
                    self.heard = time.monotonic()
                    if answer.sync_response:
                        self.synced = True
                    elif answer.HasField("update"):
                        self._came.append(answer.update)
                        self._size += answer.ByteSize()
                    if self._size > self._terms.body_bytes:
                        ended = f"more than {self._terms.body_bytes} bytes in one round"
                        self._came, self.synced = [], False
                        break
                    self._changed.notify_all()
        except grpc.RpcError as error:
            ended = _why(error)
            self._unknown = error.code() is grpc.StatusCode.UNIMPLEMENTED
        except Exception as error:  # what a faulty device makes of the library
            ended = f"{type(error).__name__}: {error}"
        self._call.cancel()
        with self._changed:
            self.ended = ended
            self._changed.notify_all()

    def _asked(self, method: Any, request: Any, deadline: float) -> Any:
        left = max(0.001, deadline - time.monotonic())
        try:
            return method(request, timeout=left, metadata=self._terms.metadata)
        except self._library.grpc.RpcError as error:
            if error.code() is self._library.grpc.StatusCode.UNIMPLEMENTED:
                raise Unimplemented(_why(error)) from None
            raise InputError(_why(error)) from None

    def _encoding(self, deadline: float) -> int:
        """Return the encoding to ask for: as configured, else the best the device speaks."""
        messages = self._library.messages
        named = {name: messages.Encoding.Value(name.upper()) for name in ENCODINGS}
        if self._terms.encoding != "auto":
            return int(named[self._terms.encoding])
        answer = self._asked(self._stub.Capabilities, messages.CapabilityRequest(), deadline)
        spoken = set(answer.supported_encodings)
        found = next((named[one] for one in ENCODINGS if named[one] in spoken), None)
        if found is None:
            raise InputError("speaks neither proto, JSON_IETF nor JSON")
        return int(found)

    def _request(self, paths: Sequence[Path], encoding: int) -> Any:
        messages = self._library.messages
        wanted = []
        for path in paths:
            one = messages.Subscription(path=self._path(path.path))
            if path.on_change:
                one.mode, one.heartbeat_interval = messages.ON_CHANGE, self._terms.heartbeat
            else:
                one.mode, one.sample_interval = messages.SAMPLE, self._terms.sample
            wanted.append(one)
        return messages.SubscribeRequest(
            subscribe=messages.SubscriptionList(
                subscription=wanted, mode=messages.SubscriptionList.STREAM, encoding=encoding
            )
        )

    def _path(self, text: str) -> Any:
        messages = self._library.messages
        return messages.Path(
            elem=[messages.PathElem(name=name, key=dict(keys)) for name, keys in steps(text)]
        )


class Unimplemented(InputError):
    """The device does not know this way of asking."""


def trust(grpc: Any, ca_file: str, cert_file: str, key_file: str) -> Any:
    """Return whom we believe, and who we are.

    :raises ConfigError: a file cannot be read.
    """
    try:
        authorities = ca_file or ssl.get_default_verify_paths().cafile
        read = [
            File(one).read_bytes() if one else None for one in (authorities, key_file, cert_file)
        ]
    except OSError as error:
        raise ConfigError(
            f"gnmi: cannot read {error.filename}: {error.strerror}",
            hint="ca_file, cert_file and key_file are in PEM form",
        ) from None
    return grpc.ssl_channel_credentials(*read)


def _why(error: Any) -> str:
    return f"{error.code().name}: {error.details() or 'no more was said'}"
