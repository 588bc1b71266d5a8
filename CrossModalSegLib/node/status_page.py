"""What the node has done, for a browser on this computer alone: no patient's name, number or date."""

import html
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from CrossModalSegLib.errors import OutputError
from CrossModalSegLib.node.study_queue import StudyQueue

_HOST = "127.0.0.1"
_STYLE = "body{font:15px sans-serif;margin:2em}td,th{text-align:left;padding:.2em 1em .2em 0;vertical-align:top}"


class StatusPage:
    """Serves ``http://127.0.0.1:<port>/`` and ``/status.json``. Raises OutputError ``port-taken``."""

    def __init__(self, queue: StudyQueue, port: int):
        handler = type("Handler", (_Handler,), {"queue": queue})
        try:
            self._server = ThreadingHTTPServer((_HOST, port), handler)
        except OSError as error:
            message = f"{_HOST}:{port}: {error.strerror or error}"
            raise OutputError("port-taken", message, "choose another node.status_port") from error
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def facts_of(queue: StudyQueue) -> dict[str, Any]:
    """What the page shows: counts by state, and the latest studies with their deliveries."""
    studies = [
        {
            "study": one.key[:8],
            "from": one.source,
            "state": one.state,
            "last image": time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one.changed)),
            "reason": one.reason,
            "sent": sum(is_sent for _peer, _object, is_sent, _why in deliveries),
            "to send": len(deliveries),
        }
        for one in queue.studies()
        for deliveries in [queue.deliveries(one.uid)]
    ]
    return {"counts": queue.counts(), "studies": studies}


class _Handler(BaseHTTPRequestHandler):
    queue: StudyQueue

    def do_GET(self) -> None:
        host = self.headers.get("Host", "").rsplit(":", 1)[0]
        if host not in (_HOST, "localhost"):  # a page elsewhere whose name leads here
            self.send_error(403)
        elif self.path == "/status.json":
            self._answer("application/json", json.dumps(facts_of(self.queue), indent=1))
        elif self.path == "/":
            self._answer("text/html; charset=utf-8", _page(facts_of(self.queue)))
        else:
            self.send_error(404)

    def log_message(self, *_arguments: Any) -> None:
        """Nothing: who looks is no news."""

    def _answer(self, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)


def _page(facts: dict[str, Any]) -> str:
    counts = (
        ", ".join(f"{number} {html.escape(state)}" for state, number in facts["counts"].items()) or "no studies yet"
    )
    columns = ("study", "from", "last image", "state", "sent", "to send", "reason")
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    rows = "".join(
        f"<tr>{''.join(f'<td>{html.escape(str(one[name]))}</td>' for name in columns)}</tr>" for one in facts["studies"]
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="10">'
        f"<title>CrossModalSeg node</title><style>{_STYLE}</style><h1>CrossModalSeg node</h1><p>{counts}</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        "<p>Research and education. Not for clinical use.</p></html>"
    )
