"""The JSON Schema of configurations, contracts and policies, plug fields included."""

from __future__ import annotations

from typing import Any

from watchkeeper import contracts, plugins, policies
from watchkeeper.access.settings import Access, OpenId, Tls
from watchkeeper.config import _secrets
from watchkeeper.config._plugs import adapter, described, required, types_of, unit_of
from watchkeeper.config._settings import TOLD, Settings
from watchkeeper.receivers import Limits
from watchkeeper.reports import History, Schedule
from watchkeeper.secret import Secret
from watchkeeper.store.reserve import Reserve
from watchkeeper.store.retention import Retention

DIALECT = "https://json-schema.org/draft/2020-12/schema"
DOCUMENTS = ("config", "contract", "policy")

SECTIONS = {
    "limits": Limits,
    "reserve": Reserve,
    "retention": Retention,
    "history": History,
    "access": Access,
    "openid": OpenId,
    "tls": Tls,
    **TOLD,
}

ROWS = {"reports": Schedule}  # lists of one kind of thing

_DURATION = r"^(0|(\d+y)?(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?)$"
_SIZE = r"^\d+ ?(B|kB|MB|GB|TB|KiB|MiB|GiB|TiB)$"
_FROM_ENVIRONMENT = {"type": "string", "pattern": r"\$\{"}


def schema(document: str) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a kind of document: one of DOCUMENTS."""
    assert document in DOCUMENTS, document
    if document == "contract":
        found = contracts.Contract.model_json_schema(by_alias=True)
    elif document == "policy":
        found = policies.Policy.model_json_schema(by_alias=True)
    else:
        found = _config()
    return {"$schema": DIALECT, **found}


def _config() -> dict[str, Any]:
    found = Settings.model_json_schema()
    fields = found["properties"]
    policy = policies.Policy.model_json_schema(by_alias=True, ref_template="#/$defs/{model}")
    definitions = policy.pop("$defs", {})
    definitions["secret"] = _secrets.definition()
    for family in ("receivers", "sources", "detectors", "health", "actions", "engines", "secrets"):
        definitions[family] = {"oneOf": [_plug(family, kind) for kind in plugins.kinds(family)]}
    for family in ("receivers", "sources", "detectors"):
        fields[family]["items"] = {"$ref": f"#/$defs/{family}"}
    for family in ("actions", "secrets"):
        fields[family]["additionalProperties"] = {"$ref": f"#/$defs/{family}"}
    for name, section in SECTIONS.items():
        fields[name] |= _fields(section) | {"type": "object"}
    for name, row in ROWS.items():
        fields[name]["items"] = _fields(row) | {"type": "object", "required": required(row)}
    fields["health"] |= {"$ref": "#/$defs/health"}
    fields["engine"] |= {"$ref": "#/$defs/engines"}
    # A policy laid over a pack's needs its name only, so nothing else is required here.
    partial = {key: value for key, value in policy.items() if key != "required"}
    fields["policies"]["items"] = {"anyOf": [{"type": "string"}, partial | {"required": ["name"]}]}
    for name, pattern in (("tick", _DURATION), ("listen", r":\d{1,5}$")):
        said = fields[name]["description"]
        text = {"type": "string", "pattern": pattern}
        fields[name] = {"anyOf": [text, _FROM_ENVIRONMENT], "description": said}
    return found | {"required": ["version"], "$defs": definitions}


def _plug(family: str, kind: str) -> dict[str, Any]:
    plug = plugins.load(family, kind)
    fields = {"type": {"const": kind}} | _fields(plug)["properties"]
    names = [[name, f"{name}_file"] for name in required(plug)]
    needed = [{"anyOf": [{"required": [n]} for n in pair if n in fields]} for pair in names]
    return {
        "type": "object",
        "title": kind,
        "description": (plug.__doc__ or "").strip().splitlines()[0] if plug.__doc__ else kind,
        "properties": fields,
        "required": ["type"],
        "additionalProperties": False,
    } | ({"allOf": needed} if needed else {})


def _fields(plug: Any) -> dict[str, Any]:
    says, fields = described(plug), dict[str, Any]()
    for name, type_ in types_of(plug).items():
        said = says.get(name, "")
        secret = _secrets.holds(type_)
        value = _secrets.schema(type_) if secret else adapter(type_).json_schema()
        options = [value, _FROM_ENVIRONMENT]
        unit = unit_of(type_, said)
        if unit:
            pattern = _SIZE if unit == "bytes" else _DURATION
            options.insert(1, {"type": "string", "pattern": pattern})
        fields[name] = {"anyOf": options} | ({"description": said} if said else {})
        if value.get("type") == "string" or type_ is Secret:
            text = {"type": "string", "description": f"File that holds {name}."}
            fields[f"{name}_file"] = text
    return {"properties": fields, "additionalProperties": False}
