"""The API answers as its document says, whatever it is asked, whoever asks."""

import re

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.guarded import NOW, Site

from watchkeeper.access import ROLES, Scope
from watchkeeper.http.api import endpoints
from watchkeeper.http.api.document import PATH
from watchkeeper.testing import ledger as t

ENDLESS = "/api/v1/events"  # a stream; test_events listens to it
CHECKS = [  # a 500 is in no document; 503 is, with when to come again
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
GIVEN_AWAY = b"nobody gives away more than he has"  # who may make tokens, of that role not
OPERATIONS = sorted(
    (re.sub(r":\w+}", "}", one.path), one.method)
    for one in endpoints(None, object())
    if one.says is not None and one.path != ENDLESS
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    made = Site(tmp_path_factory.mktemp("document"))
    for tick in range(NOW - 3000, NOW, 1000):
        made.ledger.commit(t.step(tick, ("host:a",)))
    made.of_each_role()
    yield made
    made.close()


@pytest.fixture(scope="module")
def document(site):
    return schemathesis.openapi.from_asgi(PATH, site.app)


def asked_by_everybody(site, operation, examples):
    """Ask what the document allows, and let every role ask it; the same of the same document."""
    scope = Scope(operation.definition.raw["x-scope"])

    @settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy())
    def asked(case):
        for role in ROLES:
            headers = {"Authorization": f"Bearer {site.tokens[role]}", "Host": "localhost"}
            answer = case.call(headers=headers)
            case.validate_response(answer, checks=CHECKS)
            may = scope is Scope.PUBLIC or scope in ROLES[role]
            if not (may and GIVEN_AWAY in answer.content):
                assert (answer.status_code != 403) == may, f"{role}: {scope}"

    asked()


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_the_api_answers_as_its_document_says_to_every_role(site, document, path, method):
    asked_by_everybody(site, document[path][method], examples=3)


@pytest.mark.nightly
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_it_still_does_when_it_is_asked_for_long(site, document, path, method):
    asked_by_everybody(site, document[path][method], examples=100)
