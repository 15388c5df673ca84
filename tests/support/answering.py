"""A container of an endpoint that answers as a test says."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

Answer = Callable[[bytes, str], tuple[int, bytes]]


class Container(NamedTuple):
    """A double of InvokeEndpoint, in front of a model's container that is a function."""

    url: str
    bodies: list[bytes]
    """What it was asked, in order."""

    @property
    def environ(self) -> dict[str, str]:
        return {"AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": self.url}


@contextmanager
def container(answer: Answer) -> Iterator[Container]:
    """Serves while the context lasts; status 0 breaks the connection off after the request."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            bodies.append(body)
            status, content = answer(body, self.headers.get("Content-Type", ""))
            if not status:
                self.connection.close()
                return
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Nothing to tell."""

        def handle(self) -> None:
            try:
                super().handle()
            except (OSError, ValueError):
                """The connection that was broken off."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Container(f"http://127.0.0.1:{server.server_port}", bodies)
        server.shutdown()


def per_row(answer: Callable[[str], object], join: Callable[[list[object]], str]) -> Answer:
    """A container that answers every line of CSV by itself."""
    return lambda body, _: (200, join([answer(line) for line in body.decode().splitlines()]).encode())


def quality(data: str, check: str, request: str = "") -> str:
    return f"data: {{path: held.csv{data}}}\n{request}checks: [{check}]\n"


ACCURATE = "{metric: accuracy, min: 0.99}"


def lines(rows: list[object]) -> str:
    return "\n".join(map(json.dumps, rows)) + "\n"


# --- a lost request ------------------------------------------------------------------------------------------------

THROTTLED = json.dumps({"__type": "ThrottlingException", "message": "Rate exceeded"}).encode()
