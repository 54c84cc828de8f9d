"""Change a picture that you have: python edit_with_references.py [PICTURE]. Without one, it draws one first."""

import sys
from pathlib import Path

from apimaster import APIMaster


def first_picture(client: APIMaster) -> Path:
    """The picture that was named on the command line, or a new one."""
    if len(sys.argv) > 1:
        return Path(sys.argv[1])
    drawn = client.generate("An orange cat on a wall", save_to="cat.png")
    return Path(str(drawn.images[0].path))


with APIMaster() as client:
    picture = first_picture(client)
    # Several references may be mixed: paths, bytes, open files, PIL images, public URLs.
    result = client.generate(
        "The same cat on the same wall, at night, in falling snow",
        references=[picture],
        aspect_ratio="auto",  # follows the first reference
        save_to="cat-at-night.png",
    )

print(f"{picture} -> {result.images[0].path}")
