"""Receive webhooks: python webhook_receiver.py [PORT]. Needs a key to fetch pictures, and the endpoint's secret.

APIMASTER_WEBHOOK_SECRETS names the file that `apimaster webhooks create URL --save-secret FILE` wrote. It is read for
each delivery, so that a rotation needs no restart. Or APIMASTER_WEBHOOK_SECRET holds the secret itself.

The receiver answers first and fetches the picture afterwards, because the gateway sends an event again if the answer
takes too long. It saves each event by its id before it answers. So it handles an event once, even if the event comes
twice, and after a restart it fetches the pictures of the events that it had answered before.
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
    WebhookSecrets,
    WebhookVerificationError,
    challenge_response,
    parse_webhook,
    read_secrets,
)

MAX_BODY = 1024 * 1024
to_fetch: queue.Queue[tuple[str, Task]] = queue.Queue()


def open_events() -> sqlite3.Connection:
    """The events that arrived, each with a mark once its pictures are saved."""
    database = sqlite3.connect("events.sqlite", timeout=10)
    database.execute("CREATE TABLE IF NOT EXISTS events (id TEXT PRIMARY KEY, body TEXT, done INTEGER DEFAULT 0)")
    return database


def save(event: WebhookEvent) -> bool:
    """Save an event; False if it arrived before."""
    with open_events() as database:
        row = (event.id, event.model_dump_json())
        return database.execute("INSERT OR IGNORE INTO events (id, body) VALUES (?, ?)", row).rowcount == 1


def enqueue(event: WebhookEvent) -> None:
    """Leave the pictures of an event to the thread that fetches."""
    if event.task is not None:
        to_fetch.put((event.id, event.task))


def secrets() -> WebhookSecrets:
    """The secrets that may have signed a delivery: two of them for a day after a rotation."""
    file = os.environ.get("APIMASTER_WEBHOOK_SECRETS")
    return read_secrets(file) if file else os.environ["APIMASTER_WEBHOOK_SECRET"]


class Receiver(BaseHTTPRequestHandler):
    """Handles one delivery."""

    timeout = 10  # seconds without data after which a connection is closed

    def do_POST(self) -> None:
        """Verify the event, save it, answer, and leave the rest to the other thread."""
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 < length <= MAX_BODY:
            return self.answer(400, {"error": f"the body must have 1 to {MAX_BODY} bytes"})
        try:
            event = parse_webhook(self.rfile.read(length), dict(self.headers), secrets())
        except WebhookVerificationError as error:
            return self.answer(400, {"error": str(error)})
        if event.type == VERIFICATION:
            return self.answer(200, challenge_response(event))
        if save(event):
            enqueue(event)
        return self.answer(200, {})

    def answer(self, status: int, body: dict[str, str]) -> None:
        """Send a JSON response."""
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def fetch() -> None:
    """Save the pictures of finished tasks, one task after the other."""
    with APIMaster() as client:
        while True:
            event_id, task = to_fetch.get()
            try:
                result = client.wait(task, save_to="received/")
            except APIMasterError as error:
                print(f"{task.id}: {error}", flush=True)
                if error.retryable:
                    continue  # not marked as done, so the next start tries it again
            else:
                print(f"{task.id}: {result.images[0].path}", flush=True)
            with open_events() as database:
                database.execute("UPDATE events SET done = 1 WHERE id = ?", (event_id,))


if __name__ == "__main__":
    secrets()  # a missing one shows now, and not at the first delivery
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8789
    for (body,) in open_events().execute("SELECT body FROM events WHERE NOT done"):
        enqueue(WebhookEvent.model_validate_json(body))
    threading.Thread(target=fetch, daemon=True).start()
    with ThreadingHTTPServer(("127.0.0.1", port), Receiver) as server:
        print(f"listening on port {server.server_port}", flush=True)
        server.serve_forever()
