"""Answers every GET with 200, as an API that is up would; host and port by environment."""

import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Fine(BaseHTTPRequestHandler):
    """Says that all is well."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    address = os.environ["EXPLAIND_HOST"], int(os.environ["EXPLAIND_PORT"])
    ThreadingHTTPServer(address, Fine).serve_forever()
