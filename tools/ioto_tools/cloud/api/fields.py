"""Schemas of request fields, and validation of requests. The OpenAPI document shows the same schemas. Pure."""

from collections.abc import Mapping
from typing import Any

from ..http.errors import Refusal

Arguments = dict[str, Any]  # the fields of a request
Schema = dict[str, Any]  # a JSON schema of a string, integer or boolean; "x-optional": the field may be omitted

NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 128, "pattern": r"^[\x21-\x7e]+$"}
TEXT: Schema = {"type": "string", "maxLength": 2000}
VERSION: Schema = {"type": "string", "minLength": 1, "maxLength": 128, "description": "SemVer 2.0"}
BOOLEAN: Schema = {"type": "boolean"}


def integer(least: int, most: int) -> Schema:
    return {"type": "integer", "minimum": least, "maximum": most}


def choice(*words: str) -> Schema:
    return {"type": "string", "enum": list(words)}


def optional(schema: Schema) -> Schema:
    """Mark the field as optional."""
    return {**schema, "x-optional": True}


def parse_query(found: Mapping[str, str], schemas: dict[str, Schema]) -> dict[str, Any]:
    """Parse and validate the strings of a query; return {name: value}. Raises Refusal 400, which names the field."""
    values = {}
    for name in found:
        values[name] = _typed(found[name], schemas.get(name, {}))
    return validate(values, schemas)


def _typed(text: str, schema: Schema) -> str | int | bool:
    if schema.get("type") == "integer" and text.isascii() and text.removeprefix("-").isdigit() and len(text) < 16:
        return int(text)
    if schema.get("type") == "boolean":
        return {"true": True, "false": False}.get(text, text)
    return text


def validate(values: dict[str, Any], schemas: dict[str, Schema]) -> dict[str, Any]:
    """Validate `values` and return them, with None for omitted fields. Raises Refusal 400, which names the field."""
    for name in values:
        if name not in schemas:
            known = ", ".join(schemas) or "none"
            raise Refusal(400, "%s: unknown field; known fields: %s" % (name[:40], known))
    for name, schema in schemas.items():
        if name in values:
            _check(name, values[name], schema)
        elif not schema.get("x-optional"):
            raise Refusal(400, "%s: missing" % name)
    return {name: values.get(name) for name in schemas}


_TYPES: dict[str, type[Any]] = {"string": str, "integer": int, "boolean": bool}


def _check(name: str, value: Any, schema: Schema) -> None:
    kind = schema["type"]
    if not isinstance(value, _TYPES[kind]) or kind == "integer" and isinstance(value, bool):
        such = ', such as "%s"' % str(value)[:20] if kind == "string" and type(value) in (int, float) else ""
        raise Refusal(400, "%s: expected: %s%s" % (name, kind, such))
    if kind == "string":
        _check_text(name, value, schema)
    elif kind == "integer" and not schema["minimum"] <= value <= schema["maximum"]:
        raise Refusal(400, "%s: expected: a number from %d to %d" % (name, schema["minimum"], schema["maximum"]))


def _check_text(name: str, value: str, schema: Schema) -> None:
    if "enum" in schema and value not in schema["enum"]:
        raise Refusal(400, "%s: expected: one of %s" % (name, ", ".join(schema["enum"])))
    if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 128):
        raise Refusal(
            400, "%s: expected: %d to %d characters" % (name, schema.get("minLength", 0), schema["maxLength"])
        )
    printable = value.replace("\n", "").isprintable()  # no control characters, no lone surrogates
    if not printable or "pattern" in schema and not all("!" <= c <= "~" for c in value):
        wanted = "printable ASCII characters without spaces" if "pattern" in schema else "printable characters"
        raise Refusal(400, "%s: expected: %s" % (name, wanted))
