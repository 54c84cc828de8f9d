"""An agent that edits a photo which the user uploaded, and streams how far it is.

A model can't pass bytes through the arguments of a tool, so it says ``attachment:1``; the tool finds the photo in the
conversation. Needs a key in APIMASTER_API_KEY; give a PNG, JPEG or WebP as the argument to use your own photo.
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
    """The user's photo, as chat models take it; a grey one where none was given."""
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
    """One turn of the conversation, as it happens."""
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
