"""From a commit to a promoted release, one file a stage, in the order in which they run.

    package ─► image ─► sbom ─► audit ─► provenance ─► sign ─► publish ─► promote
                                                         └─ verify, at each stage ─┘

Each stage is a command (`python -m tools.release.image`) that reads and writes `dist/` and nothing
else, so each can be run, and re-run, alone. `docs/release.md` says what each proves.
"""
