"""An agent that edits a photo that the user uploaded, and streams its progress.

A model can't pass bytes as an argument of a tool, so it writes ``attachment:1``, and the tool finds the photo in the
conversation. Needs a key in APIMASTER_API_KEY. To use your own photo, pass the path of a PNG, JPEG or WebP file.
"""

import asyncio
import base64
import io
import mimetypes
import sys
from pathlib import Path

from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage
from PIL import Image
from stand_in import StandIn, call

from langchain_apimaster import APIMasterToolkit


def photo() -> dict[str, str]:
    """The user's photo as a content block for chat models; a grey one if no path was given."""
    if len(sys.argv) > 1:
        path = Path(sys.argv[1])
        data, kind = path.read_bytes(), mimetypes.guess_type(path)[0] or "image/png"
    else:
        out = io.BytesIO()
        Image.new("RGB", (320, 240), "grey").save(out, format="PNG")
        data, kind = out.getvalue(), "image/png"
    return {"type": "image", "base64": base64.b64encode(data).decode(), "mime_type": kind}


model = StandIn(
    script=[
        call("edit_image", prompt="Turn the photo into a watercolour. Keep everything where it is.",
             reference_images=["attachment:1"]),
        AIMessage("Your photo is a watercolour now."),
    ]
)  # fmt: skip


async def main() -> None:
    """Run one turn of the conversation and print each step."""
    async with APIMasterToolkit(store="pictures") as toolkit:
        agent = create_agent(model, toolkit.get_tools())
        request = HumanMessage([{"type": "text", "text": "Make this a watercolour"}, await asyncio.to_thread(photo)])
        async for mode, piece in agent.astream({"messages": [request]}, stream_mode=["custom", "updates"]):
            if mode == "custom":
                print(f"  {piece['stage']} {piece['percent'] or 0:.0f} %")
            else:
                for message in next(iter(piece.values()))["messages"]:
                    print(f"{message.type}: {message.text}")


asyncio.run(main())
