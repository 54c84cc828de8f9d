"""Any form: images are delivered and paid for, or the request is refused and free. Nothing else leaves the provider."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
import litellm
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

URL = "https://example.com/a.png"
ROOTS = ("image", "images", "image_url", "image_urls", "input_image", "reference_images", "mask", "extra_body")
OTHERS = ("size", "n", "quality", "stream", "partial_images", "response_format", "resolution", "image_config", "x")
BRACKETS = (
    "",
    "[]",
    "[0]",
    "[1]",
    "[a]",
    "[0][url]",
    "[0][image_url]",
    "[][",
    "[999999]",
    "[٣]",
    "[image_size]",
    "[[]]",
)
TEXTS = (
    "",
    "true",
    "0",
    "1",
    "10",
    "4K",
    "auto",
    "1024x1024",
    "null",
    "[]",
    "{}",
    '{"url": 1}',
    f'["{URL}"]',
    URL,
    "{",
)
NAMES = st.builds(str.__add__, st.sampled_from([*ROOTS, *OTHERS]), st.sampled_from(BRACKETS)) | st.text(max_size=6)
VALUES = st.sampled_from(TEXTS) | st.text(max_size=8)
FIELDS = st.dictionaries(NAMES, VALUES, max_size=4)
FILES = st.lists(
    st.tuples(st.builds(str.__add__, st.sampled_from(ROOTS), st.sampled_from(BRACKETS)), st.integers(0, 80)), max_size=3
)
KEEPS_FIXTURES = [HealthCheck.function_scoped_fixture]
FORM = {"headers": {"content-type": "multipart/form-data; boundary=a"}}
# The caller's own: with other values it is another call, not another form.
RESERVED = frozenset({"model", "prompt", "api_key", "api_base"})


@settings(max_examples=150, suppress_health_check=KEEPS_FIXTURES, deadline=None)
@given(fields=FIELDS)
@example(fields={"image[0]": URL, "image[0][url]": URL})
@example(fields={"image_config[aspect_ratio]": "16:9", "image_config": "{"})
def test_the_provider_reads_any_form(fields, account, gateway, png):
    """As a proxy hands the fields on."""
    gateway.reset()
    gateway.dialect = "submit_as_image"
    fields = {name: value for name, value in fields.items() if name.isidentifier() or "[" in name}
    arguments = {"image": png, **fields, **account, "proxy_server_request": FORM}
    delivered, refusal = 0, ""
    try:
        delivered = len(litellm.image_edit(prompt="x", **arguments).data)
    except litellm.BadRequestError as error:
        refusal = str(error)
    assert delivered or "Nothing was charged" in refusal
    assert len(gateway.bill.charges) == delivered


@settings(max_examples=60, suppress_health_check=KEEPS_FIXTURES, deadline=None)
@given(fields=FIELDS, files=FILES)
@example(fields={"stream": "true"}, files=[("image", 0)])
@example(fields={"size": "", "n": ""}, files=[("image[]", 0), ("image[]", 0)])
def test_a_proxy_reads_any_form(fields, files, proxy, gateway, png):
    """A file is a whole picture, or one cut short by so many bytes."""
    gateway.reset()
    gateway.dialect = "submit_as_image"
    data = {name: value.encode(errors="replace") for name, value in fields.items() if name not in RESERVED}
    own: dict[str, Any] = {"model": "nano-banana-1", "prompt": f"x {uuid.uuid4()}"}
    parts = [(name, (None, value)) for name, value in (own | data).items()]
    parts += [(name, ("a.png", png[: len(png) - cut], "image/png")) for name, cut in files]
    response = httpx.post(
        f"{proxy.url}/v1/images/edits", files=parts, headers={"Authorization": "Bearer sk-gateway"}, timeout=60
    )
    delivered = len(response.json()["data"]) if response.status_code == 200 else 0
    assert response.status_code < 500, response.text
    assert len(gateway.bill.charges) == delivered
    if delivered:
        assert gateway.requests_to("submit")[-1].references
