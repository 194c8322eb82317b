"""Notebooks as pages: their texts, their code, and the outputs that stand in the file."""

import base64
import json
from pathlib import Path
from typing import Any


def page(path: Path) -> str:
    """Write a notebook as Markdown, its pictures within it."""
    cells = json.loads(path.read_text())["cells"]
    return "\n\n".join(part for cell in cells for part in parts_of(cell)) + "\n"


def parts_of(cell: dict[str, Any]) -> list[str]:
    """Write one cell: its text, or its code and what it has shown."""
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return [source]
    return [f"```python\n{source}\n```", *(shown(output) for output in cell.get("outputs", []))]


def shown(output: dict[str, Any]) -> str:
    """Write one output: a picture where it has one, else its text."""
    data = output.get("data", {})
    if "image/svg+xml" in data:
        picture = base64.b64encode("".join(data["image/svg+xml"]).encode()).decode()
        return f"![Output](data:image/svg+xml;base64,{picture})"
    if "image/png" in data:
        return f"![Output](data:image/png;base64,{''.join(data['image/png']).replace(chr(10), '')})"
    text = "".join(output.get("text", data.get("text/plain", "")))
    return f"```text\n{text.rstrip()}\n```"
