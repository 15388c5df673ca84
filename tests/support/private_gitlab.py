"""A GitLab behind a certificate that an authority of its own has signed: TLS in front of a server on loopback."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import trustme


@contextmanager
def private_gitlab(url: str, folder: Path) -> Iterator[tuple[str, str]]:
    """The address of `url` over TLS, and the authority's certificate in PEM form."""
    authority, target = trustme.CA(), urlsplit(url)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def accept() -> None:
            while True:
                try:
                    plain, _ = listener.accept()
                except OSError:
                    return  # closed
                threading.Thread(target=serve, args=(plain,), daemon=True).start()

        def serve(plain: socket.socket) -> None:
            with (
                suppress(OSError),
                context.wrap_socket(plain, server_side=True) as client,
                socket.create_connection((target.hostname or "", target.port or 80)) as server,
            ):
                back = threading.Thread(target=copy, args=(server, client), daemon=True)
                back.start()
                copy(client, server)
                back.join()

        def copy(source: socket.socket, sink: socket.socket) -> None:
            with suppress(OSError):
                while content := source.recv(65536):
                    sink.sendall(content)
                sink.shutdown(socket.SHUT_WR)

        threading.Thread(target=accept, daemon=True).start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}", authority.cert_pem.bytes().decode()
