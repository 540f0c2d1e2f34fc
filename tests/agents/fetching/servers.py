"""A real HTTP server on 127.0.0.1 whose answers a test decides."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

Answer = tuple[int, dict[str, str], bytes]


class Server:
    """Routes by path; keeps what was asked, with its headers."""

    def __init__(self) -> None:
        self.routes: dict[str, Callable[[BaseHTTPRequestHandler], Answer | None]] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.sent = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.asked.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
                route = outer.routes.get(self.path) or outer.routes.get(urlsplit(self.path).path)
                answer = route(self) if route else (404, {}, b"")
                if answer is None:
                    self.close_connection = True
                    return
                status, headers, body = answer
                self.send_response(status)
                headers.setdefault("Content-Length", str(len(body)))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)
                outer.sent += len(body)
                if int(headers["Content-Length"]) != len(body):
                    self.close_connection = True

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.do_GET()

            def log_message(self, *args: object) -> None:
                del args

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.host = f"127.0.0.1:{self.http.server_address[1]}"
        self.port = self.http.server_address[1]

    def serve(self, path: str, body: bytes, **headers: str) -> None:
        """Serve a body with ranges and an entity tag."""

        def route(request: BaseHTTPRequestHandler) -> Answer:
            wanted = request.headers.get("Range")
            if wanted is None:
                return 200, dict(headers), body
            start, _, end = wanted.removeprefix("bytes=").partition("-")
            first, last = int(start), min(int(end), len(body) - 1)
            if first >= len(body):
                return 416, {"Content-Range": f"bytes */{len(body)}"}, b""
            return (
                206,
                {"Content-Range": f"bytes {first}-{last}/{len(body)}", "ETag": '"v1"', **headers},
                body[first : last + 1],
            )

        self.routes[path] = route

    def answer(self, path: str, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        """Answer always the same."""
        self.routes[path] = lambda _: (status, dict(headers), body)

    def redirect(self, path: str, target: str) -> None:
        """Redirect."""
        self.answer(path, 302, {"Location": target})


@contextmanager
def running() -> Iterator[Server]:
    """Run a server for the length of a test."""
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        server.http.server_close()
        thread.join()
