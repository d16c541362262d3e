"""A house that others can reach: TLS, clients' certificates, and what is refused without (S19)."""

import base64
import http.client
import ssl

import pytest
import trustme
from tests.commands import finished, process
from tests.guarded import PASSWORD, Site

from watchkeeper.access import Role
from watchkeeper.access.settings import Access, Tls
from watchkeeper.cli._access import doorkeeper
from watchkeeper.cli._house import configured
from watchkeeper.errors import ConfigError


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def files(authority, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    mine = authority.issue_cert("localhost", "127.0.0.1")
    mine.private_key_pem.write_to_path(folder / "key.pem")
    with (folder / "certificate.pem").open("wb") as file:
        for part in mine.cert_chain_pems:
            file.write(part.bytes())
    return folder


@pytest.fixture(scope="module")
def port(files, tmp_path_factory):
    settings = Access(certificates={"agent-7": Role.AGENT, "ops": Role.OPERATOR})
    site = Site(tmp_path_factory.mktemp("site"), settings, local=False)
    tls = Tls(files / "certificate.pem", files / "key.pem", files / "ca.pem")
    yield site.serve(tls.context())
    site.close()


def ask(port, authority, path, *, client=None, method="GET", version=None, headers=None):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if client is not None:
        client.configure_cert(context)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    connection = http.client.HTTPSConnection("localhost", port, timeout=20, context=context)
    connection.request(method, path, headers=headers or {})
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body


def test_the_house_speaks_tls_and_asks_everybody_who_he_is(port, authority):
    assert ask(port, authority, "/-/healthy") == (200, "watchkeeper is up\n")
    assert ask(port, authority, "/api/v1/status")[0] == 401


@pytest.mark.parametrize(("name", "status"), [("ops", 200), ("agent-7", 403), ("stranger", 401)])
def test_the_common_name_of_a_proven_certificate_is_a_role(port, authority, name, status):
    client = authority.issue_cert(f"{name}.example", common_name=name)
    assert ask(port, authority, "/api/v1/status", client=client)[0] == status


def test_a_certificate_of_another_authority_proves_nothing(port, authority):
    client = trustme.CA().issue_cert("x.example", common_name="ops")
    with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
        ask(port, authority, "/api/v1/status", client=client)


def test_a_browser_with_a_certificate_cannot_be_used_from_another_site(port, authority):
    client = authority.issue_cert("x.example", common_name="ops")
    headers = {"Origin": "https://evil.example"}
    status, _ = ask(port, authority, "/sign-out", client=client, method="POST", headers=headers)
    assert status == 403


def test_old_versions_of_tls_are_not_spoken(port, authority):
    with pytest.warns(DeprecationWarning, match="TLSv1_1"), pytest.raises(ssl.SSLError):
        ask(port, authority, "/-/healthy", version=ssl.TLSVersion.TLSv1_1)


def test_somebody_who_speaks_no_tls_gets_no_answer(port):
    connection = http.client.HTTPConnection("localhost", port, timeout=20)
    connection.request("GET", "/-/healthy")
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        connection.getresponse()
    connection.close()


def test_a_required_certificate_is_required_of_every_connection(files, authority, tmp_path):
    site = Site(tmp_path, Access(certificates={"*": Role.VIEWER}), local=False)
    own = (files / "certificate.pem", files / "key.pem", files / "ca.pem")
    port = site.serve(Tls(*own, client_certificate="required").context())
    try:
        with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
            ask(port, authority, "/-/healthy")
        client = authority.issue_cert("x.example", common_name="anybody")
        assert ask(port, authority, "/api/v1/status", client=client)[0] == 200
    finally:
        site.close()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"certificate": "certificate.pem"}, "come together"),
        ({"client_ca": "ca.pem"}, "without certificate"),
        ({"certificate": "a", "key": "b", "client_certificate": "required"}, "no client_ca"),
    ],
)
def test_half_of_tls_is_refused(fields, said):
    with pytest.raises(ConfigError, match=said):
        Tls(**fields)


def test_files_that_are_no_certificate_are_named(files):
    with pytest.raises(ConfigError, match=r"key\.pem"):
        Tls(files / "key.pem", files / "certificate.pem").context()
    with pytest.raises(ConfigError, match="nowhere"):
        Tls(files / "nowhere", files / "key.pem").context()


def config(tmp_path, files, listen, more=""):
    path = tmp_path / "watch.yaml"
    tls = f"tls: {{certificate: {files / 'certificate.pem'}, key: {files / 'key.pem'}}}\n"
    shut = "access: {anonymous: none}\n"
    more = tls + shut if more == "tls" else ""
    path.write_text(f"version: 1\nlisten: '{listen}'\n{more}")
    return path


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "house.example:0"])
def test_a_house_others_can_reach_does_not_start_without_tls(tmp_path, files, listen):
    path = config(tmp_path, files, listen)
    code, _, said = finished("run", "--config", path, "--data", tmp_path / "data")
    assert code == 78
    assert "WK100" in said
    assert "is not loopback, and there is no tls" in said
    assert not (tmp_path / "data").exists()


def test_nor_while_nobody_is_known_who_may_ask(tmp_path, files):
    settings = configured([config(tmp_path, files, "192.0.2.1:0", "tls")], data=str(tmp_path))
    site = Site(tmp_path)
    hint = "watchkeeper user add"
    with pytest.raises(ConfigError, match=hint), doorkeeper(settings, site.ledger):
        raise AssertionError("it started")
    id, _ = site.token("viewer")
    with doorkeeper(settings, site.ledger) as keeper:
        assert keeper.known()
    site.desk.revoke_token(id, site.clock())
    with pytest.raises(ConfigError, match=hint), doorkeeper(settings, site.ledger):
        raise AssertionError("it started")
    site.close()


def test_an_open_house_as_its_operator_sees_it(tmp_path, files, authority):
    """From the first user to a token that pushes, revoked while the service runs."""
    data = tmp_path / "data"
    path = config(tmp_path, files, "127.0.0.1:0", "tls")
    add = process("user", "add", "ann", "--role", "admin", "--data", data, stdin=-1)
    add.communicate(PASSWORD + "\n", timeout=120)
    assert add.returncode == 0
    with process("run", "--config", path, "--data", data) as house:
        try:
            said = next((line for line in house.stderr if "page " in line), "")
            port = int(said.split("//")[1].rstrip("/\n").rpartition(":")[2])
            assert "https://" in said
            code, text, _ = finished("token", "create", "rack-7", "--role", "agent", "--data", data)
            assert code == 0
            token = text.strip()
            bearer = {"Authorization": f"Bearer {token}"}
            assert ask(port, authority, "/api/v1/status")[0] == 401
            assert ask(port, authority, "/api/v1/status", headers=bearer)[0] == 403
            assert push(port, authority, bearer) == 204
            basic = base64.b64encode(f"x:{token}".encode()).decode()
            assert push(port, authority, {"Authorization": f"Basic {basic}"}) == 204
            assert push(port, authority, {}) == 401
            assert finished("token", "revoke", token.split("_")[2], "--data", data)[0] == 0
            assert push(port, authority, bearer) == 401
        finally:
            house.terminate()
            house.communicate(timeout=60)
    code, text, _ = finished("audit", "--data", data)
    assert code == 0
    actions = [line.split()[3] for line in text.splitlines()]
    assert {"user.add", "token.create", "token.revoke"} <= set(actions)
    assert "<-" not in text
    assert finished("verify", "--data", data)[0] == 0


def push(port, authority, headers):
    """Push one line of Influx' protocol."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    connection = http.client.HTTPSConnection("localhost", port, timeout=60, context=context)
    connection.request("POST", "/api/v2/write", b"cpu,host=a usage_idle=50", headers)
    status = connection.getresponse().status
    connection.close()
    return status
