"""The doors of the emulated gateway: one ASGI application for both origins.

Looks at tasks come by the thousand, so they are answered here directly; everything else goes through Starlette's
routes. The second origin plays a content delivery network: it serves pictures and must never see a key.
"""

from __future__ import annotations

from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from .answers import Answer
from .control import control_routes
from .downloads import durable_output, public_picture
from .gateway import Gateway
from .generations import generate
from .jobs import Job
from .records import RecordedRequest
from .replies import dump, polled

_TASKS: Final = "/v1/tasks/"
_HTML: Final = "text/html; charset=utf-8"
_NO_SUCH_PAGE: Final = b"<!doctype html><title>404</title><h1>404 page not found</h1>"
_DENIED: Final = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>InvalidArgument</Code>'
    b"<Message>Only one auth mechanism allowed</Message></Error>"
)


class App:
    """Both origins."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._routes = Starlette(
            routes=[
                Route("/v1/images/generations", self._sync, methods=["POST"]),
                Route("/v1/images/generations/async", self._submit, methods=["POST"]),
                Route("/v1/tasks/{task_id}/outputs/{index:int}/content", self._output, methods=["GET"]),
                Route("/imgs/{name}", self._picture, methods=["GET"]),
                Route("/v1/models", self._models, methods=["GET"]),
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
                *control_routes(gateway),
                Route("/{path:path}", self._unknown, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
            ]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry."""
        if scope["type"] != "http":
            return
        if scope["server"][1] == self._gateway.cdn_port:
            await self._cdn(scope, receive, send)
        elif scope["method"] == "GET" and scope["path"].startswith(_TASKS) and "/" not in scope["path"][len(_TASKS) :]:
            await self._poll(scope)(scope, receive, send)
        else:
            await self._routes(scope, receive, send)

    # --- the gateway --------------------------------------------------------------------------------------

    def _poll(self, scope: Scope) -> Answer:
        gateway = self._gateway
        record = gateway.records.begin(scope, "poll")
        record.task_id = task_id = scope["path"][len(_TASKS) :]
        if gateway.identify(record) is None:
            return self._who(record)
        try:
            fault, _, _ = gateway.marked(record, "poll")
        except ValueError as error:
            return gateway.error(record, 400, str(error))
        fault = fault or gateway.script.next("poll", task=task_id)
        if fault is not None and fault.wire not in ("slow", "truncate"):
            return gateway.play(fault, record)
        job = gateway.jobs.get(task_id)
        if job is None or job.key != record.key:
            return gateway.error(record, 404, "task not found", code="task_not_exist")
        self._check_model(record, job)
        body = self._task_body(job)
        return gateway.play(fault, record, body) if fault is not None else Answer(200, body, record=record)

    def _task_body(self, job: Job) -> bytes:
        if job.finished_reply is not None:
            job.polls += 1
            return job.finished_reply
        gateway = self._gateway
        job.polls += 1
        ended = job.end_if_due(gateway.clock.now())
        gateway.jobs.settle(job)
        body = polled(job, gateway.clock, gateway.urls(job) if ended else (), gateway.options.url_lifetime)
        if ended:
            job.finished_reply = body
        return body

    def _check_model(self, record: RecordedRequest, job: Job) -> None:
        expected = f"model={job.order.model}"
        if record.query != expected:
            named = Request({"type": "http", "query_string": record.query.encode("latin-1")}).query_params.get("model")
            if named is None:
                self._gateway.complain(f"request {record.number}: task {job.id} was polled without its model")
            elif named != job.order.model:
                self._gateway.complain(f"request {record.number}: task {job.id} was polled with the model {named!r}")

    async def _sync(self, request: Request) -> Answer:
        return await generate(self._gateway, request, submit=False)

    async def _submit(self, request: Request) -> Answer:
        return await generate(self._gateway, request, submit=True)

    async def _output(self, request: Request) -> Answer:
        record = self._gateway.records.begin(request.scope, "output")
        record.task_id = request.path_params["task_id"]
        if self._gateway.identify(record) is None:
            return self._who(record)
        return await durable_output(self._gateway, record, request.path_params["index"])

    async def _picture(self, request: Request) -> Answer:
        record = self._gateway.records.begin(request.scope, "download")
        self._gateway.identify(record)
        return await public_picture(self._gateway, record, request.path_params["name"])

    async def _models(self, request: Request) -> Answer:
        record = self._gateway.records.begin(request.scope, "models")
        if self._gateway.identify(record) is None:
            return self._who(record)
        listed = [
            {"id": model, "object": "model", "created": 1626777600, "owned_by": "custom"}
            for model in (*self._gateway.options.models, "gpt-5.5")
        ]
        return Answer(200, dump({"object": "list", "data": listed}), record=record)

    async def _chat(self, request: Request) -> Answer:
        record = self._gateway.records.begin(request.scope, "chat")
        if self._gateway.identify(record) is None:
            return self._who(record)
        hint = "this is an image model: use the Images API, POST /v1/images/generations"
        return self._gateway.error(record, 400, hint, code="invalid_request")

    async def _unknown(self, request: Request) -> Answer:
        record = self._gateway.records.begin(request.scope, "other")
        self._gateway.identify(record)
        if not record.path.startswith("/v1"):  # the gateway's web pages live there
            return Answer(404, _NO_SUCH_PAGE, _HTML, record=record)
        return self._gateway.error(record, 404, f"Invalid URL ({record.method} {record.path})")

    def _who(self, record: RecordedRequest) -> Answer:
        if not record.had_authorization:
            return self._gateway.error(record, 401, "no API key was given", "new_api_error", "missing_token")
        return self._gateway.error(record, 401, "Invalid token", "new_api_error", "invalid_token")

    # --- the second origin --------------------------------------------------------------------------------

    async def _cdn(self, scope: Scope, receive: Receive, send: Send) -> None:
        record = self._gateway.records.begin(scope, "download", "cdn")
        self._gateway.identify(record)
        if record.had_authorization:
            self._gateway.complain(f"request {record.number}: the CDN was sent an Authorization header")
            answer = Answer(400, _DENIED, "application/xml", record=record)
        elif scope["method"] in ("GET", "HEAD") and record.path.startswith("/imgs/"):
            answer = await public_picture(self._gateway, record, record.path.removeprefix("/imgs/"))
        else:
            answer = Answer(404, b"", "", record=record)
        await answer(scope, receive, send)
