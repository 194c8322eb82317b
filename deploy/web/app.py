"""The routes of the service, and errors of one sentence."""

from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, Header, Request, Response, Security
from fastapi.exceptions import HTTPException, RequestValidationError
from fastapi.responses import RedirectResponse
from fastapi.security import HTTPBearer
from pydantic import BaseModel
from starlette.exceptions import HTTPException as RoutingError

from deploy.web import wire
from deploy.web.bodies import SampleRequest, StrictRoute, Which, sentence_of
from deploy.web.documents import add_documents
from deploy.web.door import FORMS, MODEL_PATH, SAMPLES_PATH, TRANSPORT_PATH, Access, Door
from deploy.web.points import OPTIONS, POINT_FILES, TransportRequest
from deploy.web.refusals import RETRY_AFTER, Refusal, refusal
from pipeline.errors import FlowError

if TYPE_CHECKING:
    from deploy.answers import Answers

RESPONSES: dict[int | str, dict[str, Any]] = {200: {"content": {media: {} for media in wire.MEDIA_TYPES.values()}}}
TRANSPORTED: dict[int | str, dict[str, Any]] = {200: {"content": {media: {} for media in wire.POINT_TYPES.values()}}}
REQUESTS: dict[str, type[BaseModel]] = {SAMPLES_PATH: SampleRequest, TRANSPORT_PATH: TransportRequest}
STATUSES = (400, 401, 403, 404, 405, 406, 408, 411, 413, 414, 415, 421, 422, 429, 431, 500, 503)


def web_app(answers: "Answers", access: Access, count: Callable[[int], None]) -> FastAPI:
    """Make the HTTP application of a service: the door in front, the routes, the page, and refusals of one sentence.

    Args:
        answers: draws the samples and describes the versions.
        access: the token and the names that a request must carry.
        count: is called with the status of every request for samples or with points.
    """
    app = FastAPI(
        title="S-JKO generator",
        version="1",
        description="Samples in one network evaluation, and given points transported.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # it would send clients to whatever the Host header says
        dependencies=[Security(HTTPBearer(auto_error=False))] if access.token else [],
        responses={status: {"model": Refusal, "description": HTTPStatus(status).phrase} for status in STATUSES},
    )
    app.router.route_class = StrictRoute
    app.add_middleware(Door, access=access, count=count)
    add_errors(app)
    add_documents(app)
    add_routes(app, answers)
    return app


def add_routes(app: FastAPI, answers: "Answers") -> None:
    """Add the service's operations to an application: its health, its readiness, the model, samples, points transported."""

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Say that this replica answers, whatever it has loaded."""
        return {"status": "ok"}

    @app.get("/readyz")
    async def readyz() -> dict[str, Any]:
        """Tell which version is served, and which one the alias points at but could not be loaded."""
        return answers.state()

    @app.get(MODEL_PATH)
    async def model(version: Which | None = None) -> dict[str, Any]:
        """Describe a version with its metrics and card: the one that is served, or another by alias or number."""
        return dict(await answers.description(version))

    @app.post(SAMPLES_PATH, responses=RESPONSES)
    async def samples(body: SampleRequest, accept: Annotated[str, Header()] = "*/*") -> Response:
        """Draw samples, each in one network evaluation, as JSON, .npy, Arrow or PNG."""
        return await answers.samples(body, accept)

    @app.post(TRANSPORT_PATH, responses=TRANSPORTED, openapi_extra=of_points())
    async def transport(request: Request, accept: Annotated[str, Header()] = "*/*") -> Response:
        """Apply the map to given points, row by row: JSON, .npy, Arrow, CSV or Parquet, with other columns kept."""
        return await answers.transported(request, accept)


def of_points() -> dict[str, Any]:
    """Describe for the documentation the bodies of a request with points, and its options where the body is a file."""
    schema = TransportRequest.model_json_schema()
    files = {media: {"schema": {"type": "string", "format": "binary"}} for media in POINT_FILES}
    options = [
        {
            "name": name,
            "in": "query",
            "required": False,
            "schema": schema["properties"][name],
            "description": f"where the body is a file: {schema['properties'][name]['description']}",
        }
        for name in schema["properties"]
        if name in OPTIONS
    ]
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}, **files}},
        "parameters": options,
    }


def add_errors(app: FastAPI) -> None:
    """Answer every error of an application with its status and one sentence, never with a traceback."""

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        path = request.scope["path"]
        if path not in REQUESTS:
            return refusal(HTTPStatus.UNPROCESSABLE_ENTITY, sentence_of(error))
        return refusal(HTTPStatus.UNPROCESSABLE_ENTITY, sentence_of(error, REQUESTS[path], FORMS[path].example))

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> Response:
        return refusal(error.status_code, str(error.detail), dict(error.headers or {}))

    @app.exception_handler(RoutingError)
    async def misdirected(request: Request, error: RoutingError) -> Response:
        return unrouted(app, request, error)

    @app.exception_handler(FlowError)
    async def unavailable(_: Request, error: FlowError) -> Response:
        return refusal(HTTPStatus.SERVICE_UNAVAILABLE, str(error), RETRY_AFTER)

    @app.exception_handler(Exception)
    async def failed(_: Request, __: Exception) -> Response:
        return refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "the service failed inside; its log says where")


def unrouted(app: FastAPI, request: Request, error: RoutingError) -> Response:
    """Answer a request for a method that its path does not take, or for a path that does not exist."""
    path = request.scope["path"]
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        methods = (error.headers or {}).get("Allow", "")
        allow = {"Allow": f"{methods}{', HEAD' if methods == 'GET' else ''}, OPTIONS"}
        if request.method == "OPTIONS":
            return Response(status_code=HTTPStatus.NO_CONTENT, headers=allow)
        return refusal(error.status_code, f"{path} takes {allow['Allow']}, not {ascii(request.method)[1:-1]}", allow)
    path_without_slash = path.rstrip("/")
    if path_without_slash in {getattr(route, "path", None) for route in app.routes}:
        return RedirectResponse(path_without_slash, HTTPStatus.PERMANENT_REDIRECT)
    return refusal(error.status_code, f"there is nothing at {ascii(path)[1:-1]}; GET /docs tells what there is")
