"""The page and the API's documentation. Nothing of them comes from elsewhere, so that they work without a network."""

import base64
import hashlib
import re
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from pathlib import Path

from fastapi import FastAPI, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse, HTMLResponse

from deploy.web.door import DOCS_PATH, SCHEMA_PATH

PAGE = Path(__file__).with_name("page.html")
SWAGGER_FILES = ("swagger-ui-bundle.js", "swagger-ui.css")


def swagger_folder() -> Path:
    """Find the folder where the package flask-swagger-ui has Swagger's own files; an import of it would import Flask."""
    spec = find_spec("flask_swagger_ui")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "dist"


def policy(html: str) -> str:
    """Write the content security policy of a page: it runs its own scripts, by their hashes, and files of this service alone.

    >>> policy("<p>no script</p>").partition(";")[0]
    "default-src 'none'"
    """
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in scripts)
    return (
        "default-src 'none'; connect-src 'self'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; "
        f"script-src 'self' {hashes}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def document(html: str) -> HTMLResponse:
    """Make the response that shows a page, with the content security policy of its scripts."""
    return HTMLResponse(html, headers={"Content-Security-Policy": policy(html), "Cache-Control": "no-cache"})


def add_documents(app: FastAPI) -> None:
    """Add the page at / and the documentation of the API at /docs to an application, with Swagger's files beside the latter."""
    page = PAGE.read_text()
    swagger = get_swagger_ui_html(
        openapi_url=SCHEMA_PATH.lstrip("/"),
        title=app.title,
        swagger_js_url=f"docs/{SWAGGER_FILES[0]}",
        swagger_css_url=f"docs/{SWAGGER_FILES[1]}",
        swagger_favicon_url="data:,",
        swagger_ui_parameters={"validatorUrl": None},  # a badge that another site draws
    )
    docs, folder = bytes(swagger.body).decode(), swagger_folder()

    @app.get("/", include_in_schema=False)
    async def draw() -> Response:
        return document(page)

    @app.get(DOCS_PATH, include_in_schema=False)
    async def explain() -> Response:
        return document(docs)

    for name in SWAGGER_FILES:
        app.add_api_route(f"{DOCS_PATH}/{name}", _sender(folder / name), include_in_schema=False)


def _sender(path: Path) -> Callable[[], Awaitable[FileResponse]]:
    async def send() -> FileResponse:
        return FileResponse(path, headers={"Cache-Control": "max-age=86400"})

    return send
