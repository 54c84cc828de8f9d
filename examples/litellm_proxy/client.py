"""Generate an image through a LiteLLM proxy with the OpenAI client alone.

Start the proxy first:  litellm --config examples/litellm_proxy/config.yaml
"""

import base64
import os
import sys
from pathlib import Path

from openai import OpenAI

client = OpenAI(
    api_key=os.environ["LITELLM_MASTER_KEY"],
    base_url=os.environ.get("LITELLM_GATEWAY", "http://127.0.0.1:4000/v1"),
)
folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")

made = client.images.with_raw_response.generate(
    model="nano-banana",
    prompt="An orange cat at sunset, watercolor",
    size="16:9",
    response_format="b64_json",
    extra_body={"resolution": "2K"},
)
cat = folder / "cat.png"
cat.write_bytes(base64.b64decode(made.parse().data[0].b64_json))
print(f"{cat} cost ${made.headers['x-litellm-response-cost']}")

with cat.open("rb") as file:
    edited = client.images.edit(model="nano-banana", image=file, prompt="The same cat, at night")
print(edited.data[0].url)
