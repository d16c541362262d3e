"""Secrets: they are never shown, they are found where they are kept, and they may change."""

import copy
import dataclasses
import json
import os
import pickle
import ssl
import sys
import traceback

import keyring
import pytest
import structlog
import trustme
from keyring.backend import KeyringBackend
from tests.secrets import recorded

from watchkeeper import config
from watchkeeper.actions.webhook import Webhook
from watchkeeper.errors import ActionRefused, ActionRetry, ConfigError, SecretError
from watchkeeper.secret import Secret, hidden
from watchkeeper.secrets import Keeper, Reference
from watchkeeper.secrets.aws import Aws
from watchkeeper.secrets.azure import Azure
from watchkeeper.secrets.env import Env
from watchkeeper.secrets.file import File
from watchkeeper.secrets.gcp import Gcp
from watchkeeper.secrets.keyring import Keyring
from watchkeeper.secrets.systemd import Systemd
from watchkeeper.secrets.vault import Vault
from watchkeeper.testing.actions import Receiver, Says, order
from watchkeeper.testing.secrets import Kept, secrets_checks

CANARY = "WK_CANARY_7f31"
TENANT = "00000000-0000-0000-0000-00000000000a"


@dataclasses.dataclass
class Holder:
    secret: Secret


def test_a_secret_shows_in_no_printed_form():
    secret = Secret(CANARY)
    held = Holder(secret)
    shown = [
        repr(secret), str(secret), f"{secret} {secret!r} {secret:>20}", repr(held),
        str(vars(held)), json.dumps({"a": secret}, default=str), str(dataclasses.asdict(held)),
        structlog.processors.JSONRenderer()(None, "", {"event": "x", "secret": secret}),
        str(copy.deepcopy(held)), str([secret]), str({secret: secret}), str(dir(secret)),
    ]  # fmt: skip
    assert not [text for text in shown if CANARY in text]
    with pytest.raises(TypeError):
        json.dumps(secret)
    with pytest.raises(TypeError, match="not written down"):
        pickle.dumps(held)


def test_a_traceback_with_its_variables_shows_no_secret():
    def fails(secret):
        raise ValueError(f"no good: {secret}")

    try:
        fails(Secret(CANARY))
    except ValueError:
        told = traceback.TracebackException(*sys.exc_info(), capture_locals=True)
    assert CANARY not in "".join(told.format())


def test_secrets_written_down_are_equal_by_text_and_kept_ones_by_being_the_same():
    assert Secret("a") == Secret("a") != Secret("b")
    kept = Secret(lambda: "a")
    assert kept == kept
    assert kept != Secret(lambda: "a")
    assert Secret("a") != "a"
    assert not Secret()
    assert kept
    assert hash(Secret("a")) == hash(Secret("b"))


def test_the_longest_secret_is_hidden_first():
    assert hidden("abcd abc", ["abc", "abcd", ""]) == "<secret> <secret>"


class Ring(KeyringBackend):
    priority = 1

    def set_password(self, service, username, password):
        raise AssertionError("secrets are only read")

    def get_password(self, service, username):
        return "ring-word" if (service, username) == ("watchkeeper", "me") else None


@pytest.fixture
def kept_file(tmp_path):
    path = tmp_path / "word"
    path.write_text("file-word\n")
    path.chmod(0o600)
    return path


def check_all(store, kept):
    for check in secrets_checks():
        check(store, kept)


def test_env_holds_to_the_checks(monkeypatch):
    monkeypatch.setenv("SOME_WORD", "env-word")
    check_all(Env(), Kept("SOME_WORD", "", "env-word"))
    monkeypatch.setenv("SOME_JSON", '{"a": "part", "b": 1}')
    check_all(Env(), Kept("SOME_JSON", "a", "part"))


def test_file_holds_to_the_checks(kept_file):
    check_all(File(folder=str(kept_file.parent)), Kept("word", "", "file-word"))


def test_systemd_holds_to_the_checks(kept_file, monkeypatch):
    kept_file.chmod(0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(kept_file.parent))
    check_all(Systemd(), Kept("word", "", "file-word"))
    with pytest.raises(SecretError, match="no name of a credential"):
        Systemd().fetch("../word", "")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    with pytest.raises(SecretError, match="LoadCredential"):
        Systemd().fetch("word", "")


def test_keyring_holds_to_the_checks():
    before = keyring.get_keyring()
    keyring.set_keyring(Ring())
    try:
        check_all(Keyring(), Kept("watchkeeper", "me", "ring-word"))
    finally:
        keyring.set_keyring(before)


@pytest.mark.parametrize("way", ["token", "approle"])
def test_vault_holds_to_the_checks(way):
    vault = recorded.Vault()
    vault.secrets["team/hook"] = {"value": "vault-word", "other": "part"}
    vault.tokens["root"] = 0
    with recorded.served(vault) as (url, _):
        store = (
            Vault(url, token=Secret("root"))
            if way == "token"
            else Vault(url, role_id="a-role", secret_id=Secret("its-secret-id"))
        )
        check_all(store, Kept("team/hook", "", "vault-word"))
        check_all(store, Kept("team/hook", "other", "part"))


def test_aws_holds_to_the_checks(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example")
    kept = {"team/hook": '{"a": "aws-word"}', "plain": "aws-plain"}
    with recorded.served(recorded.secrets_manager(kept)) as (url, _):
        store = Aws(region="eu-central-1", endpoint=url)
        check_all(store, Kept("team/hook", "a", "aws-word"))
        check_all(store, Kept("plain", "", "aws-plain"))


def test_gcp_holds_to_the_checks():
    with recorded.served(recorded.secret_manager({"hook": "gcp-word"})) as (url, _):
        check_all(Gcp("my-project", endpoint=url), Kept("hook", "", "gcp-word"))


def test_azure_holds_to_the_checks(tmp_path, monkeypatch):
    authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(bundle)
    with recorded.served(recorded.key_vault({"hook": "azure-word"}, TENANT), tls) as (url, _):
        store = Azure(
            url, tenant_id=TENANT, client_id="app", client_secret=Secret("the-application"),
            authority=url, ca_file=str(bundle),
        )  # fmt: skip
        check_all(store, Kept("hook", "", "azure-word"))


@pytest.mark.parametrize(
    ("mode", "said"),
    [(0o644, "other users can read"), (0o660, "other users can write"), (0o622, "can write")],
)
def test_a_file_that_others_can_touch_is_refused(kept_file, mode, said):
    kept_file.chmod(mode)
    with pytest.raises(SecretError, match=said) as caught:
        File().fetch(str(kept_file), "")
    assert "chmod 600" in caught.value.hint
    if mode == 0o644:
        assert File(readable_by_others=True).fetch(str(kept_file), "") == "file-word"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_refused(kept_file):
    os.chown(kept_file, 12345, -1)
    with pytest.raises(SecretError, match="belongs to another user"):
        File().fetch(str(kept_file), "")


def test_what_is_no_secret_in_a_file_is_refused(tmp_path, kept_file):
    with pytest.raises(SecretError, match="Is a directory"):
        File().fetch(str(tmp_path), "")
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(SecretError, match="no regular file"):
        File().fetch(str(tmp_path / "pipe"), "")
    kept_file.write_bytes(b"\xff\xfe")
    with pytest.raises(SecretError, match="no UTF-8"):
        File().fetch(str(kept_file), "")
    kept_file.write_bytes(b"x" * 70_000)
    with pytest.raises(SecretError, match="longer than"):
        File().fetch(str(kept_file), "")
    kept_file.write_text("\n")
    keeper = Keeper()
    keeper.adopt({"file": File()})
    with pytest.raises(SecretError, match="is empty"):
        keeper.secret(Reference("file", str(kept_file))).reveal()


def test_vault_says_what_is_wrong_and_no_word_of_its_own():
    vault = recorded.Vault()
    with recorded.served(vault) as (url, _):
        with pytest.raises(SecretError, match="the token: Forbidden"):
            Vault(url, token=Secret("unknown")).open()
        with pytest.raises(SecretError, match="the AppRole: InvalidRequest"):
            Vault(url, role_id="a-role", secret_id=Secret("wrong")).open()
        vault.tokens["root"] = 0
        with pytest.raises(SecretError, match="team/gone: InvalidPath"):
            Vault(url, token=Secret("root")).open().fetch("team/gone", "")
    with pytest.raises(SecretError, match="ConnectionError"):
        Vault(url, token=Secret("root"), timeout=0.5).open()
    for wrong in ({}, {"token": Secret("a"), "role_id": "b"}, {"role_id": "b"}):
        with pytest.raises(ConfigError):
            Vault("http://127.0.0.1:1", **wrong)


def test_a_token_of_vault_is_renewed_before_it_ends(monkeypatch):
    vault = recorded.Vault()
    vault.tokens["lease"] = 60
    with recorded.served(vault) as (url, asked):
        door = Vault(url, token=Secret("lease")).open()
        door.keep()
        assert not [one for one in asked if one.path.endswith("renew-self")]
        door._renew_at = 0.0  # two thirds of its life are over
        door.keep()
        assert len([one for one in asked if one.path.endswith("renew-self")]) == 1
        vault.tokens.clear()
        door._renew_at = 0.0
        with pytest.raises(SecretError, match="the token: Forbidden"):
            door.keep()


def test_an_approle_logs_in_again_when_its_token_has_ended():
    vault = recorded.Vault()
    vault.secrets["hook"] = {"value": "one"}
    with recorded.served(vault) as (url, _):
        door = Vault(url, role_id="a-role", secret_id=Secret("its-secret-id")).open()
        vault.tokens.clear()
        assert door.fetch("hook", "") == "one"
        assert vault.logins == 2
        vault.renewable, door._renew_at = False, 0.0
        door.keep()
        assert vault.logins == 3
        door.close()
        assert "s.login-3" not in vault.tokens


def test_a_secret_that_changes_in_vault_is_used_without_a_restart():
    vault, clock = recorded.Vault(), [0.0]
    vault.secrets["hook"], vault.tokens["root"] = {"value": "one"}, 0
    keeper = Keeper(lambda: clock[0])
    with recorded.served(vault) as (url, _):
        keeper.adopt({"vault": Vault(url, token=Secret("root"), refresh=60.0)})
        secret = keeper.secret(Reference("vault", "hook"))
        assert keeper.secret(Reference("vault", "hook")) is secret
        assert secret.reveal() == "one"
        vault.secrets["hook"] = {"value": "two"}
        keeper.round()
        assert secret.reveal() == "one"  # not due yet
        clock[0] = 61.0
        assert keeper.round() == {}
        assert secret.reveal() == "two"
        vault.secrets.clear()
        clock[0] = 122.0
        (failure,) = keeper.round().items()
        assert failure[0] == "vault: hook"
        assert secret.reveal() == "two"  # what was read before goes on to hold
        assert keeper.round() == {}  # the same again is not told again
        assert keeper.failing == dict([failure])
        vault.secrets["hook"] = {"value": "three"}
        assert keeper.round() == {} == keeper.failing  # a failure is tried again every round
        assert secret.reveal() == "three"


def test_a_store_does_not_keep_what_opens_it():
    keeper = Keeper()
    inside = keeper.secret(Reference("vault", "token"))
    keeper.adopt({"vault": Vault("http://127.0.0.1:1", token=inside)})
    with pytest.raises(SecretError, match="is kept in itself"):
        inside.reveal()


def test_a_receiver_that_refuses_is_met_with_the_secret_as_it_is_by_now(kept_file):
    keeper = Keeper()
    keeper.adopt({"file": File()})
    secret = keeper.secret(Reference("file", str(kept_file)))
    with Receiver(Says(401), Says(401), Says(200)) as receiver:
        hook = Webhook(Secret(receiver.url), headers={"X-Key": secret})
        with pytest.raises(ActionRefused):
            hook.perform(order())
        kept_file.write_text("rotated")
        with pytest.raises(ActionRetry, match="has changed since"):
            hook.perform(order())
        hook.perform(order())
        assert [one.headers["X-Key"] for one in receiver.requests] == [
            "file-word", "file-word", "rotated",
        ]  # fmt: skip


REFERS = """\
version: 1
secrets:
  vault: {type: vault, address: '%s', token: {secret: env, path: VAULT_TOKEN}}
actions:
  tell:
    type: webhook
    url: http://127.0.0.1:9/
    secret: {secret: vault, path: team/hook, key: signing}
    headers: {X-Key: {secret: vault, path: team/hook}, X-Plain: plain}
"""


def test_a_configuration_refers_to_secrets_where_they_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("VAULT_TOKEN", "root")
    vault = recorded.Vault()
    vault.tokens["root"] = 0
    vault.secrets["team/hook"] = {"value": "one", "signing": "two"}
    keeper = Keeper()
    with recorded.served(vault) as (url, _):
        (tmp_path / "c.yaml").write_text(REFERS % url)
        loaded = config.load([tmp_path / "c.yaml"], {}, keeper=keeper)
        again = config.load([tmp_path / "c.yaml"], {}, keeper=keeper)
        tell = loaded.actions["tell"]
        assert tell.secret.reveal() == "two"
        assert {name: one.reveal() for name, one in tell.headers.items()} == {
            "X-Key": "one", "X-Plain": "plain",
        }  # fmt: skip
        assert again.actions["tell"] == tell  # so a source that did not change goes on
        del vault.secrets["team/hook"]
        with pytest.raises(SecretError) as caught:
            config.load([tmp_path / "c.yaml"], {}, keeper=Keeper())
    text = str(caught.value)
    assert "c.yaml:8:13: actions.tell.secret: vault" in text
    assert "c.yaml:9:22: actions.tell.headers.X-Key: vault" in text


def test_a_configuration_can_be_looked_at_without_its_secrets(tmp_path):
    (tmp_path / "c.yaml").write_text(REFERS % "http://127.0.0.1:1")
    loaded = config.load([tmp_path / "c.yaml"], {}, keeper=Keeper(blind=True))
    assert list(loaded.actions) == ["log", "tell"]
