"""The OpenAPI 3.1 document of the API, made from the table of operations. Pure."""

import re
from typing import Any

from ..operators.operator_tokens import SCOPES
from .fields import Schema
from .operations import OPERATIONS, Operation

PREFIX = "/api/v1"
_ERROR = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
_WHOLE_SITE = " Not for a token that is limited to products."
_RESPONSES = {
    400: "A field is invalid; the text names it and what is expected.",
    401: "The token is missing, or is not a valid operator's token.",
    403: "The token's scope or products do not include this operation.",
    404: "Not found.",
    409: "It already exists, or its state does not allow this.",
    413: "The body is too long.",
    429: "Too many requests; Retry-After is the number of seconds to wait.",
    503: "The cloud cannot answer now; Retry-After is the number of seconds to wait.",
}


def document() -> dict[str, Any]:
    """The document as a JSON-serializable dict."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(PREFIX + operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Device cloud",
            "version": "1",
            "description": "For operators. Times are Unix seconds. Scopes of tokens: %s; each includes the "
            "scopes before it." % ", ".join(SCOPES),
        },
        "paths": paths,
        "security": [{"operator": []}],
        "components": {
            "securitySchemes": {"operator": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Error": _ERROR},
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    parameters = [
        _parameter(name, "path", {"type": "string", "minLength": 1, "maxLength": 128})
        for name in path_parameters(operation)
    ]
    parameters += [_parameter(name, "query", schema) for name, schema in operation.query.items()]
    found: dict[str, Any] = {
        "operationId": operation.run.__name__,
        "summary": operation.summary,
        "description": "Scope: %s.%s" % (operation.scope, _WHOLE_SITE if operation.whole_site else ""),
        "parameters": parameters,
        "responses": {
            "200": {
                "description": "Success.",
                "content": {"application/json": {"schema": {"type": ["object", "array"]}}},
            }
        },
    }
    for status, description in _RESPONSES.items():
        content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
        found["responses"][str(status)] = {"description": description, "content": content}
    for media_type in operation.types:
        found["responses"]["200"]["content"][media_type] = {"schema": {"type": "string"}}
    if operation.upload:
        found["requestBody"] = {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    if operation.body is not None:
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": _object(operation.body)}}}
    return found


def path_parameters(operation: Operation) -> list[str]:
    """The names of the path's parameters."""
    return re.findall(r"\{(\w+)\}", operation.path)


def _parameter(name: str, where: str, schema: Schema) -> dict[str, Any]:
    return {
        "name": name,
        "in": where,
        "required": where == "path" or not schema.get("x-optional"),
        "schema": _plain(schema),
    }


def _object(fields: dict[str, Schema]) -> Schema:
    required = [name for name, schema in fields.items() if not schema.get("x-optional")]
    properties = {name: _plain(schema) for name, schema in fields.items()}
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _plain(schema: Schema) -> Schema:
    return {key: value for key, value in schema.items() if key != "x-optional"}
