"""The pages of a fleet of 10,000 entities: bounded, and every entity can be found."""

import re

import pytest
from tests.test_http import asked
from tests.test_service import CPU, Running, Scripted, batch, clock

from watchkeeper.http import app
from watchkeeper.http.pages.overview import GROUPS, ROWS, ROWS_MAX
from watchkeeper.model import State

COUNT = 10_000
LAST = f"host:node-{COUNT - 1:05d}"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    """Every hundredth host is hot; a hundred others are of a type of their own each."""
    at = clock() - 50_000
    names = [f"{'host' if n > 99 else f'kind{n}'}:node-{n:05d}" for n in range(COUNT)]
    rows = [(name, CPU, at, 0.99 if n % 100 == 7 else 0.2) for n, name in enumerate(names)]
    with Running(tmp_path_factory.mktemp("many"), Scripted([batch(rows, "scripted")])) as house:

        def there():
            fleet = house.live.fleet()
            return len(fleet.entities) == COUNT and fleet.entities[0].state is State.FAIL

        house.until(there, 120)
        yield app(house.live)


def rows_of(answer):
    assert answer.status_code == 200, answer.text
    return re.findall(r'<a class="entity" href="/entities/([^"]+)"', answer.text)


@pytest.mark.parametrize("headers", [{}, {"HX-Request": "true"}], ids=["whole", "part"])
def test_a_page_has_so_many_rows_and_bytes_however_many_entities_there_are(fleet, headers):
    first = asked(fleet, "/", headers)
    assert "99 of 10,000 entities are unhealthy" in first.text
    assert len(rows_of(first)) == ROWS
    assert first.text.count('<li><a href="/?kind=') <= GROUPS
    assert len(first.content) < 150_000
    most = asked(fleet, f"/?rows={10 * COUNT}", headers)
    assert len(rows_of(most)) == ROWS_MAX
    assert len(most.content) < 1_500_000


def test_every_entity_is_found_by_its_name(fleet):
    assert LAST not in rows_of(asked(fleet, "/"))
    assert rows_of(asked(fleet, "/?text=node-09999")) == [LAST]
    hundred = rows_of(asked(fleet, "/?text=node-050&rows=1000"))
    assert sorted(hundred) == [f"host:node-{n:05d}" for n in range(5_000, 5_100)]
    assert asked(fleet, f"/entities/{LAST}").status_code == 200


def test_who_is_unwell_comes_first_and_more_can_be_asked_for(fleet):
    first = asked(fleet, "/")
    more = re.search(r'<a class="button" href="([^"]+)"[^>]*>Show 100 more of 10,000', first.text)
    shown = rows_of(asked(fleet, more[1].replace("&amp;", "&")))
    assert len(shown) == ROWS + 100
    assert all(int(name.rpartition("-")[2]) % 100 == 7 for name in shown[:99])
    assert rows_of(asked(fleet, "/?state=fail&rows=1000")) == shown[:99]
