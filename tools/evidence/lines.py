"""Which tests and facts hold each check of each line. `docs/readiness.md` has it as a table.

A test is `file::name`, a file, or a folder (`tests/fuzz/`), as pytest names them; all of its cases
must have passed. A fact is the name under which a stage keeps it (`facts.py`). An empty list is a
check for which nothing is there yet: it is missing, and its line is open.
"""

from __future__ import annotations

from collections.abc import Mapping

ACCESS, ACCOUNTS = "tests/http/test_access.py", "tests/access/test_accounts.py"
CHECK, CLI, CONFIG = "tests/contracts/test_check.py", "tests/test_cli.py", "tests/test_config.py"
BURST, CLIENTS = "tests/load/test_minutes.py", "tests/integration/test_clients.py"
DOCS, FLAGS, LEDGER = "tests/test_docs.py", "tests/test_flags.py", "tests/test_ledger.py"
NAMES, PIPELINE = "tests/observe/test_names.py", "tests/test_pipeline.py"
RELEASE, ROUNDS = "tests/test_release.py", "tests/sources/test_rounds.py"
RULES, TRACES = "tests/observe/test_rules.py", "tests/observe/test_traces.py"
VERSIONS = "tests/test_versioning.py"
SCORE, SECRETS = "tests/test_score.py", "tests/test_secrets.py"

# The score below which CI fails, while lines are open. It only goes up; a release asks for 100.
FLOOR = 98.0

Held = Mapping[str, tuple[str, ...]]

LINES: Mapping[str, Held] = {
    "RE1": {
        "policy": (
            f"{VERSIONS}::test_a_public_surface_is_named_with_where_it_is_written_down",
            f"{VERSIONS}::test_the_policy_says_cadence_support_and_deprecation",
        ),
        "versions": (
            f"{VERSIONS}::test_everything_that_says_a_version_says_the_same",
            f"{RELEASE}::test_a_tag_on_this_commit_is_its_version",
            f"{RELEASE}::test_an_image_that_was_built_is_labelled_with_the_version",
        ),
    },
    "RE2": {
        "stages": ("lint", "types", "pipelines", "package", "image"),
        "tests": ("tests/",),
        "digests": ("package", "image"),
    },
    "RE3": {"signatures": ("signatures",), "refusals": ("refusals",)},
    "RE4": {
        "publishing": ("published",),
        "promotion": ("promoted",),
        "gate": ("tests/test_gate.py",),
        "production": ("production",),
    },
    "SEC1": {"threats": (f"{RELEASE}::test_every_threat_names_a_control_and_a_test_that_exists",)},
    "SEC2": {
        "locks": (f"{RELEASE}::test_environments_are_built_from_hashes_alone",),
        "policy": (
            f"{RELEASE}::test_an_exception_holds_while_it_is_whole_timely_and_about_something",
            f"{RELEASE}::test_an_advisory_without_an_exception_stands",
        ),
        "outcomes": ("audit-outcomes",),
        "audit": ("audit",),
    },
    "SEC3": {"bills": ("sbom",), "published": ("promoted",)},
    "SEC4": {
        "hidden": (
            "tests/test_canary.py",
            f"{SECRETS}::test_a_secret_shows_in_no_printed_form",
            f"{SECRETS}::test_a_traceback_with_its_variables_shows_no_secret",
        ),
        "scan": ("secrets",),
    },
    "SEC5": {
        "roles": (
            f"{ACCESS}::test_every_route_is_open_to_exactly_the_roles_that_have_its_scope",
            f"{ACCOUNTS}::test_nobody_both_writes_what_acts_and_approves_it",
            "tests/http/test_table.py",
            "tests/access/test_flag_flips.py",
            "tests/test_access_docs.py::test_the_table_of_roles_is_the_table",
        ),
        "tokens": (
            f"{ACCOUNTS}::test_a_token_is_what_scanners_look_for_and_its_secret_is_kept_nowhere",
            f"{ACCOUNTS}::test_expired_revoked_and_altered_tokens_do_not_hold",
            f"{ACCOUNTS}::test_passwords_are_kept_as_argon2id_and_short_ones_are_refused",
        ),
        "audited": (
            f"{ACCESS}::test_refusals_and_unsafe_requests_are_written_down_with_who_and_where",
            f"{ACCESS}::test_what_cannot_be_written_down_is_not_done",
            f"{ACCOUNTS}::test_every_change_is_a_link_of_the_ledgers_chain_that_proves",
        ),
    },
    "OBS1": {
        "schema": (
            f"{NAMES}::test_every_log_line_is_in_the_table_with_its_level_and_its_fields",
            f"{TRACES}::test_every_line_of_a_whole_run_keeps_to_the_schema",
        ),
        "ids": (f"{TRACES}::test_every_line_of_a_whole_run_keeps_to_the_schema",),
    },
    "OBS2": {
        "metrics": (
            f"{NAMES}::test_what_is_exposed_is_in_the_table_and_the_other_way_round",
            f"{NAMES}::test_promtool_finds_nothing_wrong_with_the_metrics",
        ),
        "catalogue": (
            f"{NAMES}::test_the_catalogues_in_the_documents_are_written_from_the_tables",
        ),
    },
    "OBS3": {
        "trace": (
            f"{TRACES}::test_one_trace_leads_from_the_request_through_all_stages_to_the_report",
        )
    },
    "OBS4": {
        "rules": (
            f"{RULES}::test_promtool_agrees",
            f"{RULES}::test_every_alert_is_shown_to_fire_and_to_be_silent",
        ),
        "dashboard": (
            f"{NAMES}::test_the_dashboard_is_one_that_grafana_reads",
            f"{NAMES}::test_every_query_asks_for_metrics_that_there_are",
        ),
    },
    "REL1": {
        "retries": (
            f"{ROUNDS}::test_a_question_that_fails_once_is_asked_again_within_its_deadline",
            f"{ROUNDS}::test_the_place_in_the_round_is_the_same_in_every_process",
            "tests/sources/test_scrape.py::test_an_exporter_that_dies_and_comes_back_is_followed_all_the_way",
        ),
        "overload": (
            f"{ROUNDS}::test_repeats_are_a_small_share_of_the_questions",
            f"{ROUNDS}::test_a_budget_never_gives_more_than_a_tenth_beyond_what_was_saved",
            f"{ROUNDS}::test_neither_a_host_nor_all_of_them_are_asked_too_often_at_once",
        ),
    },
    "REL2": {
        "breakers": (
            f"{ROUNDS}::test_a_target_that_fails_is_told_of_ended_left_alone_and_tried_again",
            f"{ROUNDS}::test_a_breaker_goes_by_the_time_it_is_told",
            "tests/test_service.py::test_the_breakers_of_targets_are_shown",
            "tests/test_collecting.py::test_hostile_targets_of_every_kind_delay_nobody_and_are_left_alone",
        )
    },
    "REL3": {"drain": ("tests/load/test_life.py",)},
    "REL4": {
        "kills": ("tests/faults/test_killed.py", "tests/stores/test_crash.py"),
        "power": ("tests/stores/test_power.py",),
        "whole": (
            f"{SCORE}::test_a_failure_in_the_middle_leaves_the_earlier_run_and_nothing_else",
            f"{SCORE}::test_a_termination_leaves_nothing",
            f"{SCORE}::test_a_disk_that_refuses_more_bytes_is_told_and_nothing_is_left",
        ),
    },
    "PERF1": {
        "load": ("tests/load/test_load.py",),
        "burst": (f"{BURST}::test_a_burst_of_ten_times_the_load_loses_nothing_and_is_drained",),
    },
    "PERF2": {
        "baseline": ("bench",),
        "limits": (
            "tests/load/test_starving.py::test_without_address_space_it_says_so_and_corrupts_nothing",
            "tests/test_recent.py::test_memory_is_bounded_in_bytes",
            "tests/test_intake.py::test_no_more_bytes_wait_than_allowed_and_they_are_given_back",
            "tests/test_ensemble.py::test_the_default_set_fits_in_a_kibibyte_a_series",
            "tests/test_bench_gate.py::test_the_service_is_held_to_more_memory_than_its_own_limits_ask_for",
        ),
    },
    "PERF3": {"profile": ("bench-stages",)},
    "PERF4": {
        "same": (
            f"{SCORE}::test_workers_and_batches_do_not_show",
            f"{PIPELINE}::test_neither_portions_nor_restarts_nor_workers_show_in_the_ledger",
        ),
        "parallel": ("bench-parallel",),
    },
    "DATA1": {
        "versions": (
            "tests/stores/test_formats.py",
            "tests/test_journal.py::test_another_schema_version_is_refused_untouched",
            "tests/test_reports.py::test_the_json_report_holds_to_its_schema_which_knows_every_field",
        ),
        "migration": (
            "tests/upkeep/test_migrate.py",
            "tests/upkeep/test_killed.py::test_killed_at_moments_it_is_called_again_and_ends_the_same",
        ),
    },
    "DATA2": {
        "bounds": (
            f"{CHECK}::test_each_fault_has_its_reason_and_says_what_was_expected",
            "tests/contracts/test_properties.py",
            "tests/contracts/test_link_pack.py::test_every_metric_is_bounded_and_every_threshold_is_possible",
        ),
        "offered_again": (
            "tests/test_quarantine.py::test_rejected_samples_go_the_whole_way_once_the_contract_is_right",
        ),
    },
    "DATA3": {
        "upcasts": (f"{CHECK}::test_aliases_and_upcasts_become_the_contracts_metric",),
        "older": (
            "tests/test_ladder.py",
            "tests/upkeep/test_migrate.py::test_a_migrated_house_goes_on",
        ),
    },
    "DATA4": {
        "chain": (
            f"{LEDGER}::test_every_edit_is_found_at_the_link_it_broke",
            f"{LEDGER}::test_a_cut_tail_is_found_and_never_signed_over",
            f"{PIPELINE}::test_the_audit_chain_names_every_model_with_its_version_and_digest",
        ),
        "derived": (
            f"{PIPELINE}::test_a_ledger_that_says_something_else_is_not_believed",
            "tests/test_evidence.py",
        ),
    },
    "CONF1": {
        "profiles": ("tests/test_profiles.py",),
        "validation": (
            f"{CONFIG}::test_each_mistake_is_told_in_these_words",
            f"{CONFIG}::test_every_key_has_a_mistake_whose_words_are_known",
            "tests/test_check.py",
        ),
        "schema": (
            f"{CONFIG}::test_the_published_schema_accepts_what_loads",
            f"{CONFIG}::test_the_published_schema_refuses_what_does_not_load",
        ),
    },
    "CONF2": {"defaults": ("tests/test_defaults.py",)},
    "CONF3": {
        "flags": (
            f"{FLAGS}::test_sources_and_actions_that_reach_out_need_a_flag_and_those_at_home_do_not",
            f"{FLAGS}::test_a_policy_acts_only_while_its_flag_and_those_of_its_actions_are_on",
        ),
        "audited": (
            f"{FLAGS}::test_a_flip_holds_from_its_place_in_the_journal_on_and_replays",
            "tests/access/test_flag_flips.py::test_exactly_the_roles_with_the_scope_flip_and_each_attempt_is_audited",
        ),
    },
    "CONF4": {
        "stores": (
            f"{SECRETS}::test_env_holds_to_the_checks",
            f"{SECRETS}::test_file_holds_to_the_checks",
            f"{SECRETS}::test_vault_holds_to_the_checks",
            f"{SECRETS}::test_aws_holds_to_the_checks",
            f"{SECRETS}::test_gcp_holds_to_the_checks",
            f"{SECRETS}::test_azure_holds_to_the_checks",
        ),
        "rotation": (
            f"{SECRETS}::test_a_secret_that_changes_in_vault_is_used_without_a_restart",
        ),
    },
    "OPS1": {"runbooks": ("tests/runbooks/test_runbooks.py",)},
    "OPS2": {
        "budgets": ("tests/observe/test_objectives.py",),
        "burn": (
            f"{RULES}::test_burn_rate_alerts_use_the_windows_and_factors_of_the_objectives",
        ),
    },
    "OPS3": {
        "severities": (f"{RULES}::test_every_alert_has_a_severity_and_says_what_to_do",),
        "document": ("tests/test_severities.py",),
    },
    "OPS4": {"capacity": ("tests/upkeep/test_capacity.py",)},
    "TEST1": {
        "clients": ("tests/integration/",),
        "outputs": (
            f"{PIPELINE}::test_a_bound_broken_for_long_enough_is_decided_ordered_and_proven",
            f"{SCORE}::test_the_folder_holds_exactly_the_documented_files",
        ),
    },
    "TEST2": {"golden": (f"{SCORE}::test_the_results_of_three_fleets_are_locked",
                         "tests/test_simulate.py::test_a_seed_gives_the_same_fleet_as_ever")},
    "TEST3": {"faults": ("tests/faults/", "tests/stores/test_faults.py")},
    "TEST4": {"coverage": ("coverage",)},
    "DOC1": {
        "followed": (
            "tests/test_deployment.py::"
            "test_the_guide_for_a_machine_leads_from_a_wheel_to_an_upgrade_and_back",
            "tests/test_kubernetes.py",
        ),
        "container": ("container",),
    },
    "DOC2": {
        "errors": (f"{DOCS}::test_every_error_code_and_every_quarantine_reason_has_an_entry",),
        "links": (
            "docs",
            f"{DOCS}::test_links_within_the_repository_resolve",
            f"{DOCS}::test_every_document_is_reachable_from_the_index",
        ),
    },
    "DOC3": {
        "generated": ("docs", "tests/test_site.py"),
        "commands": (
            f"{DOCS}::test_every_command_is_in_the_documentation",
            f"{DOCS}::test_every_top_level_field_is_documented",
            f"{CLI}::test_every_command_has_help_with_examples_that_fits_the_terminal",
        ),
    },
    "DOC4": {
        "changelog": (
            f"{VERSIONS}::test_every_section_of_the_changelog_has_highlights_and_upgrade_notes",
            f"{VERSIONS}::test_every_fragment_is_one_item_of_a_known_kind",
        )
    },
}  # fmt: skip


def is_test(name: str) -> bool:
    """Return whether it names tests; else it names a fact."""
    return name.startswith("tests/")
