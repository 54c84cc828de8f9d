"""The routes of the emulated gateway: one ASGI application for both origins.

Polls come by the thousand, so the application answers them directly; everything else goes through Starlette's router.
The second origin acts as a content delivery network: it serves pictures, and no client may send it a key.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from .control import control_routes
from .downloads import durable_output, public_picture
from .faults import HTML, Place
from .gateway import Gateway
from .generations import generate
from .image_jobs import ImageJob
from .price_list import marketplace_body, pricing_body
from .records import RecordedRequest
from .response_bodies import dump, poll_body
from .responses import Response
from .uploads import take_upload, uploaded_picture
from .webhook_routes import webhook_routes

_TASKS: Final = "/v1/tasks/"
_NO_SUCH_PAGE: Final = b"<!doctype html><title>404</title><h1>404 page not found</h1>"
_DENIED: Final = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>InvalidArgument</Code>'
    b"<Message>Only one auth mechanism allowed</Message></Error>"
)


class App:
    """The gateway's origin and the second one."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._routes = Starlette(
            routes=[
                Route("/v1/images/generations", self._sync, methods=["POST"]),
                Route("/v1/images/generations/async", self._submit, methods=["POST"]),
                Route("/v1/images/edits", self._edit, methods=["POST"]),
                Route("/v1/images/edits/async", self._submit_edit, methods=["POST"]),
                Route("/v1/tasks/{task_id}/outputs/{index:int}/content", self._output, methods=["GET"]),
                Route("/imgs/{name}", self._picture, methods=["GET"]),
                Route("/v1/uploads/images", self._upload, methods=["POST"]),
                Route("/uploads/{name}", self._uploaded, methods=["GET"]),
                Route("/v1/models", self._models, methods=["GET"]),
                Route("/api/usage/token", self._usage, methods=["GET"]),
                Route("/api/log/token", self._log, methods=["GET"]),
                Route("/api/pricing", self._pricing, methods=["GET"]),
                Route("/api/public/marketplace", self._marketplace, methods=["GET"]),
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
                *webhook_routes(gateway),
                *control_routes(gateway),
                Route("/{path:path}", self._unknown, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
            ]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI."""
        if scope["type"] != "http":
            return
        if scope["server"][1] == self._gateway.cdn_port:
            await self._cdn(scope, receive, send)
        elif scope["method"] == "GET" and scope["path"].startswith(_TASKS) and "/" not in scope["path"][len(_TASKS) :]:
            await self._poll(scope)(scope, receive, send)
        elif (scope["method"], scope["path"]) in self._gateway.options.like.pages:
            await self._recorded_page(scope)(scope, receive, send)
        else:
            await self._routes(scope, receive, send)

    # --- the gateway --------------------------------------------------------------------------------------

    def _poll(self, scope: Scope) -> Response:
        gateway = self._gateway
        record = gateway.request_log.add(scope, "poll")
        record.task_id = task_id = scope["path"][len(_TASKS) :]
        if gateway.identify(record) is None:
            return self._unauthorized(record)
        try:
            fault = gateway.settings_for(record, "poll").fault
        except ValueError as error:
            return gateway.error(record, 400, str(error))
        fault = fault or gateway.script.next_fault("poll", task=task_id)
        if fault is not None and fault.wire not in ("slow", "truncate"):
            return gateway.fault_response(fault, record)
        job = gateway.jobs.get(task_id)
        if job is None or job.key != record.key:
            return gateway.error(record, 404, "task not found", code="task_not_exist")
        self._check_model(record, job)
        body = self._poll_body(job)
        return gateway.fault_response(fault, record, body) if fault is not None else Response(200, body, record=record)

    def _poll_body(self, job: ImageJob) -> bytes:
        if job.final_poll_body is not None:
            job.polls += 1
            return job.final_poll_body
        gateway = self._gateway
        job.polls += 1
        gateway.jobs.book_refund(job)
        now = gateway.clock.now()
        state = job.state(now)  # once: the job may end while the reply is written
        ended = state in ("succeeded", "failed")
        body = poll_body(job, state, now, gateway.urls(job) if ended else (), gateway.options.url_lifetime)
        if ended:
            job.final_poll_body = body
        return body

    def _check_model(self, record: RecordedRequest, job: ImageJob) -> None:
        expected = f"model={job.request.model}"
        if record.query != expected:
            named = Request({"type": "http", "query_string": record.query.encode("latin-1")}).query_params.get("model")
            if named is None:
                self._gateway.add_complaint(f"request {record.number}: task {job.id} was polled without its model")
            elif named != job.request.model:
                self._gateway.add_complaint(
                    f"request {record.number}: task {job.id} was polled with the model {named!r}"
                )

    def _recorded_page(self, scope: Scope) -> Response:
        """A page as the gateway that the emulator is to be like has shown it."""
        path: str = scope["path"]
        record = self._gateway.request_log.add(scope, "other")
        if self._gateway.identify(record) is None and path.startswith("/v1/"):
            return self._unauthorized(record)
        return self._gateway.recorded_response(self._gateway.options.like.pages[scope["method"], path], record)

    async def _sync(self, request: Request) -> Response:
        return await generate(self._gateway, request, submit=False)

    async def _submit(self, request: Request) -> Response:
        return await generate(self._gateway, request, submit=True)

    async def _edit(self, request: Request) -> Response:
        return await generate(self._gateway, request, submit=False, edit=True)

    async def _submit_edit(self, request: Request) -> Response:
        return await generate(self._gateway, request, submit=True, edit=True)

    async def _output(self, request: Request) -> Response:
        record = self._gateway.request_log.add(request.scope, "output")
        record.task_id = request.path_params["task_id"]
        if self._gateway.identify(record) is None:
            return self._unauthorized(record)
        recorded = self._gateway.options.like.refusals.get("output")
        if recorded is not None:
            return self._gateway.recorded_response(recorded, record)
        return await durable_output(self._gateway, record, request.path_params["index"])

    async def _picture(self, request: Request) -> Response:
        record = self._gateway.request_log.add(request.scope, "download")
        self._gateway.identify(record)
        return await public_picture(self._gateway, record, request.path_params["name"])

    async def _upload(self, request: Request) -> Response:
        record = self._gateway.request_log.add(request.scope, "upload")
        if self._gateway.identify(record) is None:
            return self._unauthorized(record)
        return await take_upload(self._gateway, request, record)

    async def _uploaded(self, request: Request) -> Response:
        record = self._gateway.request_log.add(request.scope, "uploaded")
        self._gateway.identify(record)
        return uploaded_picture(self._gateway, record, request.path_params["name"])

    async def _models(self, request: Request) -> Response:
        record = self._gateway.request_log.add(request.scope, "models")
        if self._gateway.identify(record) is None:
            return self._unauthorized(record)
        listed = [
            {"id": model, "object": "model", "created": 1626777600, "owned_by": "custom"}
            for model in (*self._gateway.options.models, "gpt-5.5")
        ]
        return Response(200, dump({"object": "list", "data": listed}), record=record)

    async def _usage(self, request: Request) -> Response:
        gateway = self._gateway
        record = gateway.request_log.add(request.scope, "usage")
        key = gateway.identify(record)
        if not gateway.options.account_routes:
            return Response(404, _NO_SUCH_PAGE, HTML, record=record)
        if key is None:
            return self._unauthorized(record)
        return self._book(record, "usage", lambda: gateway.books.usage_body(key, gateway.balance))

    async def _log(self, request: Request) -> Response:
        gateway = self._gateway
        record = gateway.request_log.add(request.scope, "log")
        key = gateway.identify(record)
        if not gateway.options.account_routes:
            return Response(404, _NO_SUCH_PAGE, HTML, record=record)
        # The limit comes before the key, and its answer is empty, as at the gateway.
        if not gateway.books.admit(request.client.host if request.client else ""):
            return Response(429, b"", "", record=record)
        if key is None:
            return self._unauthorized(record)
        return self._book(record, "log", lambda: gateway.books.log_body(key))

    async def _pricing(self, request: Request) -> Response:
        return self._price_page(request, pricing_body(self._gateway.options.prices))

    async def _marketplace(self, request: Request) -> Response:
        wanted = request.query_params.get("model")
        return self._price_page(request, marketplace_body(self._gateway.options.prices, wanted))

    def _price_page(self, request: Request, body: bytes) -> Response:
        """A public page: nobody needs a key for it, and a good client sends none."""
        record = self._gateway.request_log.add(request.scope, "pricing")
        self._gateway.identify(record)
        if record.had_authorization:
            self._gateway.add_complaint(f"request {record.number}: a public page was sent an Authorization header")
        if not self._gateway.options.price_routes:
            return Response(404, _NO_SUCH_PAGE, HTML, record=record)
        return self._book(record, "pricing", lambda: body)

    def _book(self, record: RecordedRequest, place: Place, body: Callable[[], bytes]) -> Response:
        """A page beside ``/v1``, or the fault that the request or the script asks for."""
        gateway = self._gateway
        try:
            fault = gateway.settings_for(record, place).fault or gateway.script.next_fault(place)
        except ValueError as error:
            return gateway.error(record, 400, str(error))
        if fault is None:
            return Response(200, body(), record=record)
        return gateway.fault_response(fault, record, body() if fault.wire in ("slow", "truncate") else b"")

    async def _chat(self, request: Request) -> Response:
        record = self._gateway.request_log.add(request.scope, "chat")
        if self._gateway.identify(record) is None:
            return self._unauthorized(record)
        hint = "this is an image model: use the Images API, POST /v1/images/generations"
        return self._gateway.error(record, 400, hint, code="invalid_request")

    async def _unknown(self, request: Request) -> Response:
        record = self._gateway.request_log.add(request.scope, "other")
        self._gateway.identify(record)
        if not record.path.startswith("/v1"):  # the gateway has its web pages there
            return Response(404, _NO_SUCH_PAGE, HTML, record=record)
        return self._gateway.error(record, 404, f"Invalid URL ({record.method} {record.path})")

    def _unauthorized(self, record: RecordedRequest) -> Response:
        return self._gateway.unauthorized(record)

    # --- the second origin --------------------------------------------------------------------------------

    async def _cdn(self, scope: Scope, receive: Receive, send: Send) -> None:
        record = self._gateway.request_log.add(scope, "download", "cdn")
        self._gateway.identify(record)
        if record.had_authorization:
            self._gateway.add_complaint(f"request {record.number}: the CDN was sent an Authorization header")
            answer = Response(400, _DENIED, "application/xml", record=record)
        elif scope["method"] in ("GET", "HEAD") and record.path.startswith("/imgs/"):
            answer = await public_picture(self._gateway, record, record.path.removeprefix("/imgs/"))
        else:
            answer = Response(404, b"", "", record=record)
        await answer(scope, receive, send)
