"""Receive webhooks: python webhook_receiver.py [PORT]. Needs APIMASTER_WEBHOOK_SECRET, and a key to fetch pictures.

It answers at once and fetches afterwards, because an event that is not answered soon is sent again. An event is
written down by its id before it is answered: so one that comes twice is handled once, and one that was answered and
not yet fetched when the program was stopped is fetched after the next start.
"""

import json
import os
import queue
import sqlite3
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from apimaster import APIMaster, APIMasterError, Task
from apimaster.webhooks import (
    VERIFICATION,
    WebhookEvent,
    WebhookVerificationError,
    challenge_response,
    parse_webhook,
)

SECRET = os.environ["APIMASTER_WEBHOOK_SECRET"]
LARGEST_BODY = 1024 * 1024
work: queue.Queue[tuple[str, Task]] = queue.Queue()


def events() -> sqlite3.Connection:
    """What has been received, and whether its pictures are here."""
    database = sqlite3.connect("events.sqlite", timeout=10)
    database.execute("CREATE TABLE IF NOT EXISTS events (id TEXT PRIMARY KEY, body TEXT, done INTEGER DEFAULT 0)")
    return database


def is_new(event: WebhookEvent) -> bool:
    """Write the event down; False if it was there already."""
    with events() as database:
        row = (event.id, event.model_dump_json())
        return database.execute("INSERT OR IGNORE INTO events (id, body) VALUES (?, ?)", row).rowcount == 1


def begin(event: WebhookEvent) -> None:
    """Leave it to the fetcher."""
    if event.task is not None:
        work.put((event.id, event.task))


class Receiver(BaseHTTPRequestHandler):
    """One delivery."""

    timeout = 10  # seconds that a sender may be silent

    def do_POST(self) -> None:
        """Prove it, write it down, answer, and leave the rest to the fetcher."""
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 < length <= LARGEST_BODY:
            return self.answer(400, {"error": "no body, or too large a one"})
        try:
            event = parse_webhook(self.rfile.read(length), dict(self.headers), SECRET)
        except WebhookVerificationError as error:
            return self.answer(400, {"error": str(error)})
        if event.type == VERIFICATION:
            return self.answer(200, challenge_response(event))
        if is_new(event):
            begin(event)
        return self.answer(200, {})

    def answer(self, status: int, body: dict[str, str]) -> None:
        """A JSON reply."""
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def fetch() -> None:
    """Save the pictures of tasks that have ended, one after the other."""
    with APIMaster() as client:
        while True:
            event_id, task = work.get()
            try:
                result = client.wait(task, save_to="received/")
            except APIMasterError as error:
                print(f"{task.id}: {error}", flush=True)
                if error.retryable:
                    continue  # it stays in the list, for the next start
            else:
                print(f"{task.id}: {result.images[0].path}", flush=True)
            with events() as database:
                database.execute("UPDATE events SET done = 1 WHERE id = ?", (event_id,))


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8789
    for (body,) in events().execute("SELECT body FROM events WHERE NOT done"):
        begin(WebhookEvent.model_validate_json(body))
    threading.Thread(target=fetch, daemon=True).start()
    with ThreadingHTTPServer(("127.0.0.1", port), Receiver) as server:
        print(f"listening on port {server.server_port}", flush=True)
        server.serve_forever()
