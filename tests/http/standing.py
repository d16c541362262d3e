"""What pages ask of a house, answered from findings that stand still."""

from math import nan

from watchkeeper.model import Assessed, Contribution, Millis
from watchkeeper.shown import Filed, Fleet, Heard, Made, Said, Trail, ranked

REPORT = b"a report that was made"
DAILY = [
    Made("daily", f"202611{day}T060000Z", Millis(0), Millis(10**12 + day), "",
         (Filed("html", "report.html", len(REPORT), "0" * 64),))
    for day in (16, 15)
]  # fmt: skip


class Standing:
    """Mixed into a view that has `findings`."""

    title = "this fleet"
    _told = (None, None)

    def now(self):
        return Millis(self.findings().facts.until + 1_000)

    def fleet(self):
        findings = self.findings()
        if self._told[0] is not findings:
            self._told = (
                findings,
                Fleet(findings.facts.until, ranked(map(one, findings.entities))),
            )
        return self._told[1]

    def trail(self, entity):
        found = next(one for one in self.findings().entities if one.name == entity)
        return Trail(tuple(zip(found.line.time, found.line.health, strict=True)), found.since)

    def nothing(self, *_):
        return []

    def getting_ready(self):
        return ""

    course = samples = silent = places = standings = nothing

    def reports(self):
        return DAILY

    def report(self, made, filed):
        return REPORT if made is DAILY[0] else None

    def replay(self, reason, actor):
        return 0, 0

    def newest(self, entity):
        return {("system.cpu.utilization", "{}"): Said(0.97, 0.4, 0.3, 0.5, 3.0)}

    def heard(self, entity=None):
        return [
            Heard(name, metric, '{"cpu":"0"}', Millis(10**12), 0.97, nan, 0.3, 0.5, score)
            for name in sorted(one.entity for one in self.fleet().entities)
            if entity in (None, name)
            for metric, score in (("cpu", 3.0), ("memory", 0.2))
        ]

    def labels(self):
        return ["rack=r1"]

    def labelled(self, label):
        return frozenset(one.entity for one in self.fleet().entities[::2])

    def values_of(self, label):
        return {one.entity: one.entity[-1] for one in self.fleet().entities}


def one(entity):
    shares = tuple(Contribution(s.metric, s.attributes, s.share) for s in entity.signals)
    return Assessed(
        entity.name, entity.at, entity.health, entity.state, entity.coverage, entity.score, shares
    )
