"""The table of routes: nothing is built that is not guarded."""

import pytest
from tests.test_http import House

from watchkeeper import http
from watchkeeper.access import Scope
from watchkeeper.http.table import Endpoint, routes


def answer(request):
    raise AssertionError("never asked")


@pytest.mark.parametrize("scope", [None, "", "status:read"])
def test_a_route_without_a_scope_cannot_be_built(scope):
    with pytest.raises(AssertionError, match="scope"):
        Endpoint("GET", "/x", scope, answer)


def test_two_answers_to_one_question_are_a_mistake():
    one = Endpoint("GET", "/x", Scope.PUBLIC, answer)
    with pytest.raises(AssertionError, match="twice"):
        routes([one, one])


def test_the_application_is_made_of_the_table_and_of_nothing_else():
    table = http.endpoints(House())
    made = http.app(House()).routes
    assert {(one.path, m) for one in made for m in one.methods - {"HEAD"}} == {
        (one.path, one.method) for one in table
    }
