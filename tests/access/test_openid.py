"""Tokens of an identity provider: whose, for whom, until when, signed by whom."""

import base64
import json

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey, RSAKey
from tests.guarded import NOW, Site

from watchkeeper.access.doorkeeper import Shown
from watchkeeper.access.openid import Provider
from watchkeeper.access.settings import OpenId
from watchkeeper.errors import ConfigError, Unauthenticated
from watchkeeper.model import Millis

ISSUER, AUDIENCE = "https://id.example/realms/ops", "watchkeeper"
SECONDS = NOW // 1000
KEY = ECKey.generate_key("P-256", {"kid": "one", "use": "sig"})
OTHER = ECKey.generate_key("P-256", {"kid": "two", "use": "sig"})
RSA = RSAKey.generate_key(2048, {"kid": "rsa", "use": "sig"})


def written(path, *keys):
    path.write_text(json.dumps(KeySet(list(keys)).as_dict(private=False)))
    return path


@pytest.fixture
def settings(tmp_path):
    file = written(tmp_path / "keys.json", KEY, RSA)
    roles = {"sre": "operator", "lead": "admin", "review": "approver"}
    return OpenId(ISSUER, AUDIENCE, str(file), claim="realm.roles", roles=roles)


def token(key=KEY, algorithm="ES256", header=None, **changes):
    claims = {
        "iss": ISSUER, "aud": AUDIENCE, "sub": "ann-1", "exp": SECONDS + 300,
        "iat": SECONDS, "realm": {"roles": ["sre"]}, **changes,
    }  # fmt: skip
    claims = {name: value for name, value in claims.items() if value is not None}
    head = {"alg": algorithm, "kid": key.kid, **(header or {})}
    return jwt.encode(head, claims, key, algorithms=[algorithm])


def refused(provider, text, now=NOW):
    with pytest.raises(Unauthenticated):
        provider.asker(text, Millis(now))


def test_a_token_of_the_provider_stands_for_the_role_in_its_claim(settings):
    provider = Provider(settings)
    asker = provider.asker(token(preferred_username="ann"), Millis(NOW))
    assert (asker.name, asker.shown, asker.role) == ("openid:ann-1", "ann", "operator")
    rsa = token(RSA, "RS256", aud=["other", AUDIENCE])
    assert provider.asker(rsa, Millis(NOW)).role == "operator"


def test_of_several_roles_one_counts_so_that_nobody_is_two_people(settings):
    both = token(realm={"roles": ["review", "lead", "unknown"]})
    assert Provider(settings).asker(both, Millis(NOW)).role == "admin"


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://evil.example"}, {"iss": None}, {"aud": "other"}, {"aud": None},
        {"exp": SECONDS - 100}, {"exp": None}, {"exp": "soon"}, {"nbf": SECONDS + 600},
        {"sub": None}, {"realm": None}, {"realm": {"roles": []}}, {"realm": {"roles": ["x"]}},
        {"realm": {"roles": 7}}, {"realm": "sre"},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_not_for_us_or_not_now_or_stands_for_nothing_does_not_hold(settings, changes):
    refused(Provider(settings), token(**changes))


def test_a_signature_of_somebody_else_or_of_nobody_does_not_hold(settings):
    provider = Provider(settings)
    refused(provider, token(OTHER))
    forged = ECKey.generate_key("P-256", {"kid": "one"})
    refused(provider, token(forged))
    head, claims, _ = token().split(".")
    refused(provider, f"{head}.{claims}.")
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    refused(provider, f"{none}.{claims}.")
    # The public key as the secret of a symmetric signature.
    public = OctKey.import_key(json.dumps(KEY.as_dict(private=False)))
    refused(provider, token(public, "HS256", {"kid": "one"}))
    refused(provider, token(RSA, "PS256"))  # an algorithm that was not asked for
    for text in ("..", "a.b.c", "x" * 20_000 + "..", "é.é.é"):
        refused(provider, text)


def test_a_token_that_was_checked_is_known_until_it_expires_and_not_longer(settings):
    provider, text = Provider(settings), token()
    assert provider.asker(text, Millis(NOW)) is provider.asker(text, Millis(NOW + 299_000))
    refused(provider, text, NOW + 361_000)


def test_a_new_key_of_the_provider_is_found_without_a_restart_but_not_at_every_try(
    settings, tmp_path, monkeypatch
):
    from watchkeeper.access import openid

    asked = []
    original = openid._key_set
    monkeypatch.setattr(openid, "_key_set", lambda where: (asked.append(where), original(where))[1])
    now = [0.0]
    monkeypatch.setattr(openid.time, "monotonic", lambda: now[0])
    provider = Provider(settings)
    assert provider.asker(token(), Millis(NOW)).role == "operator"
    written(tmp_path / "keys.json", KEY, OTHER)
    for _ in range(20):
        refused(provider, token(OTHER))
    assert len(asked) == 1
    now[0] += 61
    assert provider.asker(token(OTHER), Millis(NOW)).role == "operator"
    assert len(asked) == 2
    (tmp_path / "keys.json").write_text("not a key set")
    now[0] += 4000
    assert provider.asker(token(OTHER, sub="bob"), Millis(NOW)).name == "openid:bob"


def test_without_keys_nobody_is_let_in(settings, tmp_path):
    (tmp_path / "keys.json").unlink()
    refused(Provider(settings), token())


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"audience": ""}, "audience is missing"),
        ({"keys": ""}, "keys is missing"),
        ({"roles": {}}, "roles is missing"),
        ({"algorithms": ("HS256",)}, "HS256"),
        ({"algorithms": ("none",)}, "none"),
        ({"keys": "http://id.example/keys"}, "https"),
    ],
)
def test_a_provider_that_cannot_be_trusted_is_refused(fields, said):
    whole = {"issuer": ISSUER, "audience": AUDIENCE, "keys": "k", "roles": {"a": "viewer"}}
    with pytest.raises(ConfigError, match=said):
        OpenId(**{**whole, **fields})


def test_a_house_takes_the_tokens_of_its_provider(settings, tmp_path):
    (tmp_path / "data").mkdir()
    site = Site(tmp_path / "data", openid=settings)
    try:
        assert site.keeper.asker(Shown(f"Bearer {token()}")).role == "operator"
        answer = site.ask("/api/v1/whoami", token=token())
        assert answer.json()["data"]["name"] == "openid:ann-1"
        assert site.ask("/api/v1/tokens", token=token()).status_code == 403
        assert site.ask("/api/v1/status", token=token(aud="other")).status_code == 401
        assert site.events(outcome="denied") == [("openid:ann-1", "GET /api/v1/tokens", "denied")]
    finally:
        site.close()
