# One target for each thing people do here; `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin
DEMO := src/watchkeeper/packs/host/sample
JOBS ?= 3
FUZZ ?= 60
FLOOR = $(shell sed -n 's/^FLOOR = //p' tools/evidence/lines.py)

RELEASE_BIN := .venv-release/bin
NOTE = $(PYTHON) -m tools.evidence.facts
STAGE = PATH="$(CURDIR)/$(RELEASE_BIN):$$PATH" $(RELEASE_BIN)/python -m tools.release

.PHONY: help setup dev run demo kernels test test-nightly fuzz lint types bench bench-gate docs docs-check changelog lock vendor package clean \
  pipelines pipelines-check release-tools image sbom audit secrets provenance sign verify publish promote rollback rehearse \
  evidence readiness

help: ## say what can be done (this text)
	@echo "Watchkeeper turns fleet telemetry into health scores, safe decisions and reports."
	@echo
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22
	@echo
	@echo "Start with 'make demo' to see a report, or 'make run' to watch this host."

setup: ## build .venv from the locked requirements; does nothing when it is current
	@PYTHON=$(PYTHON) tools/environment.sh runtime

dev: ## the same, with the tools for tests and checks
	@PYTHON=$(PYTHON) tools/environment.sh dev

run: setup ## watch this host: collect, score, decide; page and API on 127.0.0.1:8470
	@exec $(BIN)/watchkeeper run

demo: setup ## score the shipped sample data and say where the report is
	@rm -rf demo-out
	@$(BIN)/watchkeeper score $(DEMO)/*.csv.gz --out demo-out
	@echo "report: file://$(CURDIR)/demo-out/report.html"

kernels: dev ## compile what a house compiles at its first start, once for all that follows
	@PYTHONPATH=.:src $(BIN)/python -c "import tests.program"

test: dev ## run the tests and hold the coverage floors
	@$(BIN)/python -m pytest -rfER -n $(JOBS) --dist worksteal -m "not nightly" -p tools.coverage_floors --cov --cov-report= \
	  --junitxml=build/junit.xml

test-nightly: dev ## run the long tests too, and the others for longer
	@WATCHKEEPER_LIVES=400 WATCHKEEPER_EXAMPLES=100 WATCHKEEPER_CUTS=1000 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal

fuzz: dev ## look for new faults in what reads what others wrote, for 60 s in all (FUZZ=seconds)
	@$(BIN)/python -m tests.fuzz --seconds $(FUZZ)

lint: dev ## style, formatting and import rules
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@PYTHONPATH=src $(BIN)/lint-imports
	@$(NOTE) lint

types: dev ## check types strictly
	@$(BIN)/mypy
	@$(NOTE) types

bench: dev ## measure speed and memory, and make this machine's ratios the baseline
	@for name in $(filter-out __init__ nab gate,$(basename $(notdir $(wildcard benchmarks/*.py)))) ingest; do \
	  echo "== $$name"; $(BIN)/python -m benchmarks.$$name; done
	@$(BIN)/python -m benchmarks.gate --write

bench-gate: dev ## hold what a sample costs, in ratios, to benchmarks/baseline.json
	@$(BIN)/python -m benchmarks.gate

docs: dev ## build the documentation as a site, with the reference from the code, and check its links
	@$(BIN)/python -m tools.site.build
	@$(NOTE) docs

docs-check: dev ## check that the documents agree with the code
	@$(BIN)/python -m pytest -q tests/test_docs.py tests/test_site.py tests/test_house.py

changelog: ## fold changes/ into CHANGELOG.md; RELEASED=2026-12-01 dates its newest section
	@$(PYTHON) tools/changelog.py $(if $(RELEASED),--released $(RELEASED))

lock: dev ## choose dependency versions anew and write them down with their hashes
	@tools/lock.sh

vendor: ## fetch the pages' scripts anew from npm, in the versions that tools/vendor.sh names
	@tools/vendor.sh

package: dev ## build wheel and sdist twice, compare, and try the wheel in an empty environment
	@tools/package.sh
	@$(NOTE) package

pipelines: dev ## make the pipelines of GitHub and GitLab from .ci/stages.txt
	@$(BIN)/python tools/pipelines.py

pipelines-check: release-tools ## they are as made, and harmless to run
	@$(RELEASE_BIN)/python tools/pipelines.py --check
	@$(RELEASE_BIN)/zizmor --offline --quiet --no-progress .github
	@$(NOTE) pipelines

release-tools: ## build .venv-release: what packages, signs and publishes
	@PYTHON=$(PYTHON) tools/environment.sh release

image: release-tools ## build the container image twice, compare; after `make package`, as root
	@$(STAGE).image
	@$(NOTE) image

sbom: release-tools ## write the bills of materials of package and image, and hold them to their schema
	@$(STAGE).sbom
	@$(NOTE) sbom

audit: release-tools ## look for known vulnerabilities in what is locked; RELEASE=1 takes no doubt
	@$(STAGE).advisories
	@$(NOTE) audit-outcomes
	@RELEASE=$(RELEASE) $(STAGE).audit

secrets: release-tools ## look for secrets in every commit, after a planted one was found
	@$(STAGE).secrets
	@$(NOTE) secrets

provenance: release-tools ## say from what dist/ was built
	@$(STAGE).provenance

sign: release-tools ## sign dist/, with COSIGN_PRIVATE_KEY or a key for once
	@$(STAGE).sign

verify: release-tools ## verify dist/, then prove that damage is refused
	@$(STAGE).verify
	@$(STAGE).verify --prove

publish: release-tools ## publish dist/ to the stage dev of STAGES
	@$(STAGE).publish

promote: release-tools setup ## promote a version by digest: make promote FROM=dev TO=staging [VERSION=] [WAIVERS=]
	@$(STAGE).promote --from $(FROM) --to $(TO) $(if $(VERSION),--version $(VERSION)) $(if $(WAIVERS),--waivers $(WAIVERS))

rollback: release-tools ## point a stage at an earlier version: make rollback STAGE_OF=prod VERSION=0.1.0
	@$(STAGE).promote --rollback $(STAGE_OF) --version $(VERSION)

rehearse: release-tools setup ## sign, publish and promote to prod on loopback, and run what arrived there
	@$(STAGE).rehearse

evidence: ## write build/evidence from what the stages and the tests left
	@$(PYTHON) -m tools.evidence.collect

readiness: setup evidence ## hold that evidence against the plan; what the rehearsal waived is printed
	@$(BIN)/watchkeeper readiness --commit "$$(git rev-parse HEAD)" --least $(FLOOR) \
	  $(if $(wildcard build/evidence/waivers.yaml),--waivers build/evidence/waivers.yaml)

clean: ## remove what was built; keeps .venv and collected data
	@rm -rf dist build site out demo-out .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage*
	@find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
