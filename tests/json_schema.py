# SPDX-License-Identifier: GPL-2.0-only
"""A validator for JSON Schema, for tests: the keywords that kvmref's own schemas use, no others.

Whatever else a schema says is an error of the schema, so nothing is silently not checked.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

Schema = dict[str, Any]

_TYPES: dict[str, Callable[[object], bool]] = {
    "array": lambda value: isinstance(value, list),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "null": lambda value: value is None,
    "object": lambda value: isinstance(value, dict),
    "string": lambda value: isinstance(value, str),
}

_NO_CHECK = {"$schema", "$defs", "title", "description"}


def valid(value: object, schema: object, root: Schema) -> bool:
    """Tell whether *value* is an instance of *schema*, a part of *root*."""
    if isinstance(schema, bool):
        return schema
    assert isinstance(schema, dict)
    return all(
        _holds(keyword, argument, value, schema, root)
        for keyword, argument in schema.items()
        if keyword not in _NO_CHECK
    )


def _same(one: object, other: object) -> bool:
    return type(one) is type(other) and one == other


def _holds(keyword: str, argument: Any, value: Any, schema: Schema, root: Schema) -> bool:
    match keyword:
        case "$ref":
            return valid(value, root["$defs"][argument.removeprefix("#/$defs/")], root)
        case "oneOf":
            return sum(valid(value, each, root) for each in argument) == 1
        case "anyOf":
            return any(valid(value, each, root) for each in argument)
        case "const":
            return _same(argument, value)
        case "enum":
            return any(_same(each, value) for each in argument)
        case "type":
            return _TYPES[argument](value)
        case "minimum":
            return not _TYPES["integer"](value) or argument <= value
        case "maximum":
            return not _TYPES["integer"](value) or value <= argument
        case "pattern":
            return not isinstance(value, str) or re.search(argument, value) is not None
        case "required":
            return not isinstance(value, dict) or all(name in value for name in argument)
        case "propertyNames":
            return not isinstance(value, dict) or all(valid(n, argument, root) for n in value)
        case "properties":
            return not isinstance(value, dict) or all(
                valid(value[name], each, root) for name, each in argument.items() if name in value
            )
        case "additionalProperties":
            known = schema.get("properties", {})
            return not isinstance(value, dict) or all(
                valid(each, argument, root) for name, each in value.items() if name not in known
            )
        case "prefixItems":
            return not isinstance(value, list) or all(
                valid(each, item, root) for each, item in zip(value, argument, strict=False)
            )
        case "items":
            before = len(schema.get("prefixItems", ()))
            return not isinstance(value, list) or all(
                valid(each, argument, root) for each in value[before:]
            )
        case "minItems":
            return not isinstance(value, list) or argument <= len(value)
        case "minProperties":
            return not isinstance(value, dict) or argument <= len(value)
        case "uniqueItems":
            return not isinstance(value, list) or all(value.count(item) == 1 for item in value)
        case "if":
            return valid(value, schema["then" if valid(value, argument, root) else "else"], root)
        case "then" | "else":
            return True
    raise AssertionError(f"unknown keyword {keyword}")
