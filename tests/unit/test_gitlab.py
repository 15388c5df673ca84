"""The one client of GitLab's API, before servers that answer as GitLab, proxies and broken networks do."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ci_scripts import errors, gitlab
from tests.support.private_gitlab import private_gitlab


class Answer(NamedTuple):
    status: int
    body: Any = None
    location: str = ""


class Server:
    """Answers the requests in turn, the last answer again and again, and keeps what was asked with which tokens."""

    def __init__(self, *answers: Answer) -> None:
        self.requests: list[str] = []
        self.tokens: list[str | None] = []
        waiting = list(answers)
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests.append(f"{self.command} {self.path}")
                server.tokens.append(self.headers["PRIVATE-TOKEN"] or self.headers["JOB-TOKEN"])
                answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
                html = isinstance(answer.body, str)
                body = answer.body.encode() if html else json.dumps(answer.body).encode()
                self.send_response(answer.status)
                self.send_header("Content-Type", "text/html" if html else "application/json")
                self.send_header("Content-Length", str(len(body)))
                if answer.location:
                    self.send_header("Location", answer.location)
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.do_GET()

            def log_message(self, format: str, *arguments: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


Serve = Callable[..., Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[Server] = []

    def start(*answers: Answer) -> Server:
        servers.append(Server(*answers))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


PROJECT = Answer(200, {"id": 7})


def project_of(url: str, **settings: Any) -> int:
    with gitlab.asking():
        return int(gitlab.connect(url, **{"token": "glpat-secret", "environ": {}} | settings).projects.get("a/b").id)


@pytest.mark.parametrize("suffix", ["", "/api/v4", "/api/v4/"])
def test_the_address_is_that_of_the_api_or_of_gitlab(serve: Serve, suffix: str) -> None:
    server = serve(PROJECT)
    assert project_of(server.url + suffix) == 7
    assert server.requests == ["GET /api/v4/projects/a%2Fb"]


@pytest.mark.parametrize("api", ["", "gitlab.com/api/v4", "file:///etc/passwd", "https:///api/v4"])
def test_what_is_no_address_is_refused(api: str) -> None:
    with pytest.raises(errors.InvalidOption, match="is no address"):
        gitlab.connect(api)


@pytest.mark.parametrize("token", ["glpat-secret\nx", "glpat secret", "glpat-s\u00e9cret"])
def test_what_is_no_token_is_refused_without_being_shown(token: str) -> None:
    with pytest.raises(errors.InvalidOption, match="the token for GitLab has") as caught:
        gitlab.connect("https://gitlab.com", token=token)
    assert "glpat" not in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize(
    ("tokens", "sent"),
    [
        ({"token": "glpat-1\r\n"}, "glpat-1"),  # as it is pasted into a CI/CD variable
        ({"token": "glpat-1", "job_token": "job-1"}, "glpat-1"),
        ({"token": "", "job_token": "job-1"}, "job-1"),
        ({"token": ""}, None),
    ],
)
def test_an_access_token_goes_before_that_of_the_job(serve: Serve, tokens: dict[str, str], sent: str | None) -> None:
    server = serve(PROJECT)
    project_of(server.url, **tokens)
    assert server.tokens == [sent]


def test_a_read_is_repeated_when_gitlab_stumbles(serve: Serve) -> None:
    server = serve(Answer(502, "<html>bad gateway"), Answer(503), PROJECT)
    assert project_of(server.url) == 7
    assert len(server.requests) == 3


def test_a_request_that_changes_something_is_sent_once(serve: Serve) -> None:
    server = serve(Answer(503))
    client = gitlab.connect(server.url, token="glpat-secret", environ={})
    with pytest.raises(errors.GitLabRefused), gitlab.asking():
        client.projects.create({"name": "x"})
    assert server.requests == ["POST /api/v4/projects"]


@pytest.mark.parametrize("tokens", [{}, {"token": "", "job_token": "job-secret"}])
def test_a_token_follows_within_a_server_and_never_to_another(serve: Serve, tokens: dict[str, str]) -> None:
    other = serve(PROJECT)
    moved = serve(Answer(301, location="/api/v4/projects/7"), Answer(302, location=f"{other.url}/elsewhere"))
    assert project_of(moved.url, **tokens) == 7
    assert moved.requests == ["GET /api/v4/projects/a%2Fb", "GET /api/v4/projects/7"]
    assert None not in moved.tokens
    assert (other.requests, other.tokens) == (["GET /elsewhere"], [None])


@pytest.mark.parametrize(
    ("answer", "expected", "message"),
    [
        (Answer(401, {"message": "401 Unauthorized"}), errors.GitLabDenied, "GitLab answers 401: Unauthorized"),
        (Answer(403, {"error": "insufficient_scope"}), errors.GitLabDenied, "GitLab answers 403: insufficient_scope"),
        (
            Answer(404, {"message": "404 Project Not Found"}),
            errors.GitLabDenied,
            "GitLab answers 404: Project Not Found",
        ),
        (Answer(422, {"message": ["a", "b"]}), errors.GitLabRefused, "GitLab answers 422: ['a', 'b']"),
        (Answer(500, "<html>oops</html>"), errors.GitLabRefused, "GitLab answers 500"),
        (Answer(200, "<html>Sign in</html>"), errors.GitLabUnreachable, "GitLab does not answer: what answers is"),
    ],
)
def test_an_answer_that_is_none_is_an_error_with_a_code(
    serve: Serve, answer: Answer, expected: type[errors.SagemakerCiError], message: str
) -> None:
    server = serve(answer)
    with pytest.raises(expected) as raised:
        project_of(server.url)
    assert raised.value.message.startswith(message)
    assert "oops" not in raised.value.message, "the page of a proxy is no message"


def test_nobody_answers_is_said_in_the_systems_own_words() -> None:
    import socket

    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    with pytest.raises(errors.GitLabUnreachable, match=r"GitLab does not answer: .*refused"):
        project_of(f"http://127.0.0.1:{port}")


def test_a_server_without_tls_is_not_taken_for_one_whose_certificate_is_not_trusted(serve: Serve) -> None:
    with pytest.raises(errors.GitLabUnreachable, match="GitLab does not answer") as raised:
        project_of(serve(PROJECT).url.replace("http://", "https://"))
    assert "certificate" not in raised.value.message + raised.value.hint


def test_a_certificate_of_ones_own_is_trusted_when_gitlab_names_it(serve: Serve, tmp_path: Path) -> None:
    server = serve(PROJECT)
    with private_gitlab(server.url, tmp_path) as (url, authority):
        with pytest.raises(errors.GitLabUnreachable, match="certificate is not trusted") as raised:
            project_of(url)
        assert "CI_SERVER_TLS_CA_FILE" in raised.value.hint
        (tmp_path / "ca.pem").write_text(authority)
        assert project_of(url, environ={"CI_SERVER_TLS_CA_FILE": str(tmp_path / "ca.pem")}) == 7


def test_an_authority_of_the_operating_system_is_trusted(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(PROJECT)
    with private_gitlab(server.url, tmp_path) as (url, authority):
        (tmp_path / "ca.pem").write_text(authority)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        assert project_of(url) == 7


def test_what_is_not_gitlabs_error_stays_what_it_is() -> None:
    assert gitlab.explain(KeyError("x")) is None
    with pytest.raises(KeyError), gitlab.asking():
        raise KeyError("x")
