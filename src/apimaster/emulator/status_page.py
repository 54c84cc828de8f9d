"""The page at ``/``: the requests, the image jobs, the pictures and what they cost. It loads nothing from elsewhere.

Every text that came from outside is escaped. A small script fetches the page again and replaces the tables, so the
reader keeps the scroll position; without the script the page shows the state at loading.
"""

from __future__ import annotations

import base64
import hashlib
import time
from html import escape
from typing import Final

from .gateway import Gateway
from .image_jobs import ImageJob
from .records import RecordedRequest
from .webhook_events import WebhookDelivery

_SCRIPT: Final = (
    "setInterval(async()=>{try{const r=await fetch('/',{cache:'no-store'});"
    "const d=new DOMParser().parseFromString(await r.text(),'text/html');"
    "document.querySelector('main').replaceWith(d.querySelector('main'));"
    "document.body.classList.remove('gone')}catch{document.body.classList.add('gone')}},1500)"
)
# the browser runs only this script, whatever a prompt contains
_SCRIPT_HASH: Final = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
POLICY: Final = (
    f"default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; connect-src 'self'; "
    f"script-src 'sha256-{_SCRIPT_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_SHOWN: Final = 60

_STYLE: Final = """
:root{color-scheme:light dark;--ink:#1b2430;--dim:#66738a;--line:#dfe4ec;--paper:#f6f8fb;--card:#fff;--accent:#2f6fde}
@media(prefers-color-scheme:dark){:root{--ink:#e6ebf3;--dim:#93a0b5;--line:#2a3342;--paper:#11161e;--card:#19202b;
--accent:#7aa7ff}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
header,main{max-width:1240px;margin:0 auto;padding:0 20px}header{padding-top:28px}
h1{font-size:22px;margin:0 0 4px}h2{font-size:15px;margin:28px 0 10px}p{margin:0;color:var(--dim)}
code{font:13px ui-monospace,monospace;background:var(--card);border:1px solid var(--line);border-radius:5px;
padding:1px 5px}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin-top:18px}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px 16px}
.card b{display:block;font-size:24px;font-variant-numeric:tabular-nums}.card span{color:var(--dim);font-size:13px}
.pictures{display:flex;flex-wrap:wrap;gap:12px}figure{margin:0;width:160px;background:var(--card);padding:7px;
border:1px solid var(--line);border-radius:10px}figure img{display:block;width:144px;height:108px;object-fit:contain}
figcaption{font-size:12px;color:var(--dim);overflow:hidden;text-overflow:ellipsis;white-space:nowrap;margin-top:5px}
.scroll{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:10px}
table{border-collapse:collapse;width:100%;font-size:13px;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:6px 12px;border-bottom:1px solid var(--line);white-space:nowrap}
th{color:var(--dim);font-weight:500}tr:last-child td{border-bottom:0}td.p{max-width:300px;overflow:hidden;
text-overflow:ellipsis}.succeeded,.s2{color:#1f9d61}.failed,.s4,.s5,.s0{color:#d0493f}.running{color:var(--accent)}
.bar{display:inline-block;width:70px;height:6px;border-radius:3px;background:var(--line);margin-right:6px;
overflow:hidden}
.bar i{display:block;height:100%;background:var(--accent)}footer{height:40px}.gone main{opacity:.45}
"""


def status_page(gateway: Gateway) -> str:
    """The whole page as HTML."""
    base = f"{gateway.origin_for(())}/v1"
    keys = gateway.options.api_keys
    key = "any key" if keys is None else keys[0]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>apimaster emulator</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><link rel="icon" href="data:,">'
        f"<style>{_STYLE}</style></head><body><header><h1>APIMaster emulator</h1>"
        f"<p>Base URL <code>{escape(base)}</code> · key <code>{escape(key)}</code> · dialect "
        f"<code>{escape(str(gateway.dialect))}</code> · nothing here costs money.</p></header>"
        f"<main>{_main(gateway)}</main><footer></footer><script>{_SCRIPT}</script></body></html>"
    )


def _main(gateway: Gateway) -> str:
    jobs = gateway.jobs.all()
    records = gateway.request_log.all()
    now = gateway.clock.now()
    running = sum(job.state(now) in ("queued", "running") for job in jobs)
    cards = (
        (f"${gateway.bill.total}", "charges minus refunds"),
        (str(len(gateway.bill.charges)), "charges"),
        (str(len(gateway.bill.refunds)), "refunds"),
        (str(running), "running image jobs"),
        (str(gateway.request_log.count), "requests"),
    )
    parts = ['<div class="cards">']
    parts += [f'<div class="card"><b>{escape(value)}</b><span>{escape(what)}</span></div>' for value, what in cards]
    parts.append("</div>")
    parts.append(_pictures(jobs[::-1]))
    parts.append(_jobs(jobs[: -_SHOWN - 1 : -1], now))
    if deliveries := gateway.webhooks.events.deliveries():
        parts.append(_deliveries(deliveries[: -_SHOWN - 1 : -1], gateway))
    parts.append(_requests(records[: -_SHOWN - 1 : -1]))
    return "".join(parts)


def _pictures(jobs: list[ImageJob]) -> str:
    shown = [(job, token) for job in jobs[:200] for token in job.image_tokens][:14]
    figures = "".join(
        f'<figure><a href="/imgs/{token}.png"><img loading="lazy" alt="" src="/_emulator/thumbs/{token}"></a>'
        f'<figcaption title="{escape(job.request.prompt)}">{escape(job.request.prompt[:120])}</figcaption></figure>'
        for job, token in shown
    )
    return f'<h2>Pictures</h2><div class="pictures">{figures or "<p>None yet.</p>"}</div>'


def _jobs(jobs: list[ImageJob], now: float) -> str:
    rows = []
    for job in jobs:
        state, percent = job.state(now), job.progress(now)
        bar = f'<span class="bar"><i style="width:{percent:.0f}%"></i></span>' if state == "running" else ""
        references = f"{len(job.request.references) or ''}{' + mask' if job.request.mask else ''}"
        price = "–" if job.request.price is None else f"${job.request.price * job.images}"
        cells = (
            f"<td>{escape(_time_of_day(job.created_wall))}</td><td><code>{escape(job.id)}</code></td>"
            f'<td class="{state}">{bar}{state}</td><td class="p">{escape(job.request.prompt[:200])}</td>'
            f"<td>{escape(job.request.aspect_ratio)} · {escape(job.request.resolution)}</td>"
            f"<td>{references}</td><td>{job.polls}</td><td>{escape(price)}</td>"
        )
        rows.append(f"<tr>{cells}</tr>")
    head = ("Time", "Id", "State", "Prompt", "Size", "References", "Polls", "Price")
    return _table("Image jobs", head, rows)


def _deliveries(deliveries: list[WebhookDelivery], gateway: Gateway) -> str:
    rows = []
    for delivery in deliveries:
        endpoint = gateway.webhooks.endpoints.get(delivery.endpoint_id)
        status = "–" if delivery.status is None else str(delivery.status)
        cells = (
            f"<td>{escape(_time_of_day(delivery.at))}</td><td>{escape(delivery.type)}</td>"
            f"<td><code>{escape(delivery.task_id or '')}</code></td>"
            f'<td class="p">{escape("" if endpoint is None else endpoint.url)}</td><td>{delivery.attempt}</td>'
            f'<td class="s{(delivery.status or 0) // 100}">{status}</td>'
            f'<td class="p">{escape(delivery.error or "")}</td><td>{escape(delivery.fault or "")}</td>'
        )
        rows.append(f"<tr>{cells}</tr>")
    head = ("Time", "Event", "Task", "Endpoint", "Attempt", "Status", "Error", "Fault")
    return _table("Webhook deliveries", head, rows)


def _requests(records: list[RecordedRequest]) -> str:
    rows = []
    for record in records:
        status = "–" if record.status is None else str(record.status)
        target = f"{record.path}?{record.query}" if record.query else record.path
        cells = (
            f"<td>{record.number}</td><td>{escape(_time_of_day(record.at))}</td><td>{escape(record.origin)}</td>"
            f'<td class="p">{escape(record.method)} {escape(target[:200])}</td>'
            f'<td class="s{(record.status or 0) // 100}">{status}</td><td>{escape(record.fault or "")}</td>'
        )
        rows.append(f"<tr>{cells}</tr>")
    return _table("Requests", ("#", "Time", "Origin", "Request", "Status", "Fault"), rows)


def _table(title: str, head: tuple[str, ...], rows: list[str]) -> str:
    if not rows:
        return f"<h2>{title}</h2><p>None yet.</p>"
    heads = "".join(f"<th>{name}</th>" for name in head)
    return f'<h2>{title}</h2><div class="scroll"><table><tr>{heads}</tr>{"".join(rows)}</table></div>'


def _time_of_day(unix_time: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(unix_time))
