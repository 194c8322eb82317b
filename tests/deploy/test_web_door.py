"""Who is let in to the service, in this process and without Ray: names, origins, tokens, methods, paths and sizes."""

import pytest
from asgi import JSON, Client, Service, raw

from deploy.web import door

TOKEN = "a-token-for-tests-only"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "localhost.:80", "127.0.0.1", "127.9.9.9:1", "[::1]:8000"])
def test_this_machines_names_are_let_in_without_a_token(client: Client, host: str) -> None:
    assert client.request("GET", "/v1/model", host=host).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "127.0.0.1.evil.example",
        "localhost.evil.example:8000",
        "localhost@evil.example",
        "evil.example#localhost",
        "0.0.0.0:8000",
        "10.0.0.1",
        "[::]:8000",
        "",
        "localhost:port",
        "127.0.0.1 evil",
    ],
)
def test_another_name_is_refused_without_a_token(client: Client, app: Service, host: str) -> None:
    for path in ("/", "/v1/model", "/healthz", "/openapi.json"):
        answer = client.request("GET", path, host=host)
        assert (answer.status, "--hosts" in answer.detail) == (421, True)
    assert client.request("POST", "/v1/samples", b"{}", host=host, **JSON).status == 421
    assert app.client(TOKEN).request("GET", "/healthz", host=host).status == 200, "the token keeps others out"


def test_further_names_are_let_in_as_told(app: Service) -> None:
    for token in (None, TOKEN):
        client = app.client(token, ("demo.example.org",))
        authorized = {} if token is None else {"authorization": f"bearer {token}"}
        assert client.request("GET", "/v1/model", host="demo.example.org:80", **authorized).status == 200
        assert client.request("GET", "/v1/model", host="127.0.0.1", **authorized).status == 200
        assert client.request("GET", "/v1/model", host="evil.example", **authorized).status == 421


def test_pages_of_other_sites_are_refused_without_a_token(client: Client, app: Service) -> None:
    host = "localhost:8000"
    for origin in ("http://evil.example", "http://localhost:9000", "https://localhost", "null", "localhost:8000", ""):
        assert client.post({}, host=host, origin=origin).status == 403
        assert client.get("/v1/model", host=host, origin=origin).status == 403
    assert client.post({}, host=host, origin="http://localhost:8000").status == 200
    assert app.client(TOKEN).post({}, origin="http://evil.example", authorization=f"Bearer {TOKEN}").status == 200


def test_the_token_is_asked_for_where_something_is_to_be_had(app: Service) -> None:
    client = app.client(TOKEN)
    for header in (
        "",
        "Bearer",
        "Bearer wrong",
        TOKEN,
        f"Basic {TOKEN}",
        f"Bearer {TOKEN}x",
        "Bearer \u00e9",
        f"Bearer  {TOKEN}",
    ):
        assert client.get("/v1/model", authorization=header).status == 401
        answer = client.request("POST", "/v1/samples", b"{}", authorization=header, **JSON)
        assert (answer.status, answer.headers["connection"]) == (401, "close")
    assert client.get("/v1/model").status == client.get("/nothing").status == 401
    assert client.get("/v1/model", authorization=f"BEARER {TOKEN}").status == 200
    for path in ("/", "/healthz", "/readyz", "/docs", "/docs/swagger-ui.css", "/openapi.json"):
        assert client.get(path).status == 200
    schema = client.get("/openapi.json").content.decode()
    assert "moons" not in schema
    assert '"scheme":"bearer"' in schema.replace(" ", "")


def test_half_a_body_is_given_up(client: Client, app: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "BODY_SECONDS", 0.05)
    app.counted.clear()
    answer = client.request("POST", "/v1/samples", b'{"num_samples": 5}', num_missing=9, **JSON)
    assert (answer.status, answer.headers["connection"]) == (408, "close")
    assert "the body did not come within" in answer.detail
    assert app.counted == [408]


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/docs", "/docs/swagger-ui.css", "/openapi.json", "/v1/model"])
def test_head_is_answered_as_get_without_the_body(client: Client, path: str) -> None:
    head, got = client.request("HEAD", path), client.get(path)
    assert (head.status, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(got.content)) != "0"
    assert head.headers["content-type"] == got.headers["content-type"]


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/", "GET, HEAD, OPTIONS"),
        ("/v1/model", "GET, HEAD, OPTIONS"),
        ("/v1/samples", "POST, OPTIONS"),
        ("/docs", "GET, HEAD, OPTIONS"),
    ],
)
def test_other_methods_are_told_which_ones_there_are(client: Client, path: str, allow: str) -> None:
    answer = client.request("OPTIONS", path)
    assert (answer.status, answer.headers["allow"], answer.content) == (204, allow, b"")
    assert "access-control-allow-origin" not in answer.headers
    for method in ("PUT", "DELETE", "PATCH", "TRACE", "BREW", "HEAD" if path == "/v1/samples" else "POST"):
        answer = client.request(method, path)
        assert (answer.status, answer.headers["allow"]) == (405, allow)
        assert method == "HEAD" or f"takes {allow}, not {method}" in answer.detail


def test_a_slash_at_the_end_leads_to_the_same_place_on_this_host(client: Client) -> None:
    for path in ("/docs", "/v1/model", "/healthz", "/v1/samples"):
        answer = client.get(f"{path}/")
        assert (answer.status, answer.headers["location"]) == (308, path)


@pytest.mark.parametrize(
    "path",
    [
        *("/nothing", "/redoc", "/v1", "/V1/model", "/v1/model/x", "/\u00e9", "//docs/", "//evil.example/"),
        *("/docs/../../etc/passwd", "/docs/%2e%2e/app.py", "/docs/..%2f..%2fapp.py", "/docs/LICENSE"),
    ],
)
def test_nothing_else_is_there(client: Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status == 404
    assert "GET /docs tells what there is" in answer.detail


def test_what_is_too_long_is_refused(client: Client) -> None:
    assert client.get("/v1/model?version=" + "a" * 3_000).status == 414
    assert client.get("/v1/model", x_long="a" * 40_000).status == 431
    assert raw(client, b"x" * 70_000).status == 413
    assert client.request("POST", "/v1/samples", content_length="9" * 5_000, **JSON).status == 413
    for length in ("\u00b2", "-1", "1.5", "1,1"):
        assert client.request("POST", "/v1/samples", content_length=length, **JSON).status == 411
    assert raw(client, b"{}", transfer_encoding="chunked").status == 411


def test_a_body_where_none_is_read_is_refused(client: Client) -> None:
    answer = client.request("GET", "/v1/model", b'{"version": 1}', **JSON)
    assert (answer.status, answer.detail, answer.headers["connection"]) == (400, "GET takes no body", "close")


def test_pages_load_nothing_from_elsewhere(client: Client) -> None:
    for path in ("/", "/docs"):
        answer = client.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "'unsafe-inline'" not in policy.partition("script-src")[2]
        assert "http" not in policy
        html = answer.content.decode()
        assert "//" not in html.replace("http://www.w3.org", "").partition("<script>")[0], path
    assert len(client.get("/docs/swagger-ui-bundle.js").content) > 1_000_000
    assert client.get("/v1/model").headers["x-content-type-options"] == "nosniff"
