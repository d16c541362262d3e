"""From what continuous integration did to evidence: which line of the plan rests on what.

    a stage ─► build/facts/NAME.json ─┐
    make test ─► build/junit.xml ─────┴─► collect ─► build/evidence/evidence.jsonl ─► readiness

`lines.py` says which tests and which facts hold each check of each line; nothing else does. A check
whose tests do not exist, did not run, or did not pass is red, one without a fact is missing. Every
fact names the commit it was seen at; those of another commit are not counted. Not shipped.
"""
