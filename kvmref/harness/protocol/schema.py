# SPDX-License-Identifier: GPL-2.0-only
"""The JSON Schema of the wire protocol: one definition for each message, and what they refer to."""

from __future__ import annotations

from collections.abc import Mapping

from kvmref.harness.implementations.interface import PROTOCOL_VERSION
from kvmref.harness.protocol import schemas
from kvmref.harness.protocol.messages import ANSWERS, LARGEST_ID, REQUESTS, Form
from kvmref.harness.protocol.schemas import Schema, closed, integer


def protocol_schema() -> Schema:
    """Return the schema of the whole protocol; any message of it is an instance."""
    messages = {**_messages("request", REQUESTS), **_messages("answer", ANSWERS)}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"The wire protocol of kvmref, version {PROTOCOL_VERSION}",
        "oneOf": [{"$ref": f"#/$defs/{name}"} for name in messages],
        "$defs": {
            **messages,
            "setup": schemas.setup(),
            "step": schemas.step(),
            "event": schemas.event(),
            "values": schemas.values(),
        },
    }


def _messages(which: str, forms: Mapping[str, Form]) -> dict[str, Schema]:
    return {f"{which}.{name}": _message(which, name, form) for name, form in forms.items()}


def _message(which: str, name: str, form: Form) -> Schema:
    number = integer(0, LARGEST_ID)
    properties: dict[str, Schema] = {
        "id": {"anyOf": [number, {"type": "null"}]} if name == "error" else number,
        which: {"const": name},
    }
    required = ["id", which]
    if form.greeting:
        properties["protocol"] = {"const": PROTOCOL_VERSION}
        required.append("protocol")
    for key, member in form.members.items():
        properties[key] = {**member.schema, "description": member.doc}
        if member.required:
            required.append(key)
    return {"description": f"{which}: {form.doc}", **closed(properties, required)}
