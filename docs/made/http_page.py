"""The page of the service's HTTP interface, made from the OpenAPI description that the service itself gives."""

import json
from typing import Any, cast

from deploy.web.app import web_app
from deploy.web.door import Access

INTRODUCTION = """\
# HTTP

`python -m deploy serve NAME@ALIAS` answers here.
The service shows the same description at `/docs`, also without network, and as `/openapi.json`.
With a token each request but those for the page, the documentation and the two probes carries `Authorization: Bearer TOKEN`.
Every refusal is JSON with one sentence: `{"detail": "…"}`.
"""


def page() -> str:
    """Write the page."""
    description = web_app(cast(Any, None), Access(), lambda status: None).openapi()
    parts = [INTRODUCTION, refusals(description)]
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            parts.append(operation_of(method, path, operation, description))
    return "\n\n".join(parts) + "\n"


def operation_of(method: str, path: str, operation: dict[str, Any], description: dict[str, Any]) -> str:
    """Describe one operation: what it does, its parameters, its body, its answers."""
    lines = [f"## {method.upper()} {path}", "", operation.get("description", operation.get("summary", ""))]
    parameters = [row(each["name"], each["schema"], each["in"], description) for each in operation.get("parameters", ())]
    if parameters:
        lines += ["", "| parameter | in | type | what it is |", "|---|---|---|---|", *parameters]
    content = operation.get("requestBody", {}).get("content", {})
    if content:
        lines += ["", f"Bodies: {', '.join(f'`{media}`' for media in content)}."]
    if "application/json" in content:
        schema = resolved(content["application/json"]["schema"], description)
        fields = [row(name, each, "body", description) for name, each in schema.get("properties", {}).items()]
        lines += ["", "| field | in | type | what it is |", "|---|---|---|---|", *fields]
    good = operation["responses"].get("200", {}).get("content", {})
    lines += ["", f"Answers: 200 with {', '.join(f'`{media}`' for media in good)}."]
    return "\n".join(lines)


def refusals(description: dict[str, Any]) -> str:
    """List the statuses of refusals, which all operations share."""
    answers = [each["responses"] for methods in description["paths"].values() for each in methods.values()]
    said = {code: each["description"] for responses in answers for code, each in responses.items() if code != "200"}
    return f"Statuses of refusals: {', '.join(f'{code} {phrase}' for code, phrase in sorted(said.items()))}."


def resolved(schema: dict[str, Any], description: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference to a schema."""
    name = schema.get("$ref", "").rpartition("/")[2]
    return cast(dict[str, Any], description["components"]["schemas"][name]) if name else schema


def row(name: str, schema: dict[str, Any], place: str, description: dict[str, Any]) -> str:
    """Write a row for a parameter or a field."""
    schema = resolved(schema, description)
    text = " ".join(schema.get("description", "").split()).replace("|", "\\|")
    default = f" Default: `{json.dumps(schema['default'])}`." if schema.get("default") is not None else ""
    return f"| `{name}` | {place} | {kind_of(schema)} | {text}{default} |"


def kind_of(schema: dict[str, Any]) -> str:
    """Say the type of a field, with its bounds."""
    if "anyOf" in schema:
        kinds = dict.fromkeys(kind_of(each) for each in schema["anyOf"])
        return " or ".join(kinds)
    kind = str(schema.get("type", "any"))
    if "enum" in schema:
        return " or ".join(f"`{each}`" for each in schema["enum"])
    bounds = [f"{word} {schema[key]}" for word, key in (("from", "minimum"), ("to", "maximum")) if key in schema]
    return " ".join([kind, *bounds])
