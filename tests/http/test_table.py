"""The table of routes: nothing is built that is not guarded."""

import itertools

import pytest
from tests.test_http import House

from watchkeeper import config, http
from watchkeeper.access import Scope
from watchkeeper.http._gate import Open
from watchkeeper.http.receive import doors
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
        routes([one, one], Open())


def test_the_application_is_made_of_the_table_and_of_nothing_else():
    table = http.endpoints(House())
    made = http.app(House()).routes
    assert {(one.path, m) for one in made for m in one.methods - {"HEAD"}} == {
        (one.path, one.method) for one in table
    }


def test_every_door_of_the_default_house_fits_into_the_table():
    """Two receivers may share a path by different methods: Influx answers GET and HEAD alike."""
    offered = doors(config.default().receivers, None, None, itertools.count(1))
    made = {(one.path, method) for one in routes(offered, Open()) for method in one.methods}
    assert made >= {(one.path, one.method) for one in offered}
    assert {("/ping", "GET"), ("/ping", "HEAD"), ("/api/v1/write", "POST")} <= made
