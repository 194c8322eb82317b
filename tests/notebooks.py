"""Notebooks run cell by cell in a kernel: `python tests/notebooks.py PATH` writes what they show into the file.

What a cell showed last stands in its output; what is shown anew in place of something replaces it there.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from jupyter_client.manager import start_new_kernel

ROOT = Path(__file__).resolve().parents[1]


def executed(path: Path, environment: dict[str, str]) -> dict[str, Any]:
    """Run all cells of a notebook, and give it with its outputs."""
    notebook = json.loads(path.read_text())
    environment = {**os.environ, **environment, "PYTHONPATH": str(ROOT)}
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(path.parent), env=environment)
    try:
        for cell in (each for each in notebook["cells"] if each["cell_type"] == "code"):
            cell["outputs"] = outputs_of(client, "".join(cell["source"]))
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    return notebook


def outputs_of(client: Any, code: str) -> list[dict[str, Any]]:
    """Run a cell, and list what it has shown."""
    outputs: dict[Any, dict[str, Any]] = {}

    def heard(message: dict[str, Any]) -> None:
        kind, content = message["msg_type"], message["content"]
        if kind == "error":
            raise AssertionError("\n".join(content["traceback"]))
        if kind == "stream":
            outputs.setdefault(content["name"], {"output_type": "stream", "name": content["name"], "text": ""})
            outputs[content["name"]]["text"] += content["text"]
        elif kind in ("display_data", "update_display_data", "execute_result"):
            place = content.get("transient", {}).get("display_id", len(outputs))
            result = {"execution_count": None} if kind == "execute_result" else {}
            shown = "execute_result" if kind == "execute_result" else "display_data"
            outputs[place] = {"output_type": shown, "data": content["data"], "metadata": {}, **result}

    reply = client.execute_interactive(code, timeout=200, output_hook=heard)
    assert reply["content"]["status"] == "ok", reply
    return list(outputs.values())


if __name__ == "__main__":
    (place,) = map(Path, sys.argv[1:])
    place.write_text(json.dumps(executed(place, {}), indent=1) + "\n")
