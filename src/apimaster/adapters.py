"""What an integration may import beyond the public names. All of it, and nothing below a leading underscore.

An adapter (the LangChain tools, the LiteLLM provider, ``apimaster.batch``, a package of your own) maps a framework's
words to this client and back. These are the pieces of the core that such a mapping needs. They are kept stable like
the public names: names may be added, not changed.

========================  =========================================================================================
errors
``ImageFailure.of``       an error as data, for one image of several (in ``apimaster.results``)
``describe_charge``       ``billed`` as a sentence
``sentence``              a text with a full stop at its end
``as_os_errors``          turns whatever an fsspec backend raises into ``OSError``
reading what callers say
``read_size``             an aspect ratio or pixels, and a resolution, in the endpoint's spelling
``read_resolution``       ``2k``, ``2048`` or ``2048px`` as ``2K``
``check_reference``       looks at one reference image: its kind, size and wholeness
``check_references``      looks at all pictures of a request, its mask included
``file_within``           the open file of an upload of a web framework
``picture_in``            the picture in a content block, whichever provider's form it has
``decode_base64``         base64 with line breaks, url-safe, or without its padding
pictures
``inspect_picture``       media type and pixels as a ``Picture``, read from the bytes; raises ``NotAPicture``
places
``SaveTarget``            what ``save_to`` means: a folder, a file or an fsspec URL
``safe_file_stem``        a text as a file name that every system takes
``is_reserved_file_name`` whether Windows refuses or changes a file name
``check_public_url``      refuses a URL that leads to a private address; raises ``ForbiddenAddress``
``shared_ssl_context``    the one TLS context of the process
``tls_context``           a new one, from what the environment says now; raises ``BadSetting``
``proxy_for``             the proxy of the environment for a URL: a ``Proxy``, whose ``url()`` checks it
clients
``APIMaster.as_async``    an asyncio client with the same settings (a method of the client)
``client.retry_policy``   how often and how patiently a client repeats: a ``RetryPolicy``
========================  =========================================================================================
"""

from ._flows.retry import RetryPolicy
from ._images.inspect import NotAPicture, Picture
from ._images.inspect import inspect as inspect_picture
from ._images.sizes import read_resolution, read_size
from ._references.base64_text import decoded as decode_base64
from ._references.blocks import picture_in
from ._references.checked import check_reference, check_references
from ._references.in_memory import file_within
from ._storage.file_names import is_reserved_file_name
from ._storage.file_names import safe_stem as safe_file_stem
from ._storage.sinks import as_os_errors
from ._storage.target import Target as SaveTarget
from ._transport import BadSetting, ForbiddenAddress, Proxy, proxy_for, shared_ssl_context, tls_context
from ._transport import check_url as check_public_url
from .errors import describe_charge, sentence

__all__ = [
    "BadSetting",
    "ForbiddenAddress",
    "NotAPicture",
    "Picture",
    "Proxy",
    "RetryPolicy",
    "SaveTarget",
    "as_os_errors",
    "check_public_url",
    "check_reference",
    "check_references",
    "decode_base64",
    "describe_charge",
    "file_within",
    "inspect_picture",
    "is_reserved_file_name",
    "picture_in",
    "proxy_for",
    "read_resolution",
    "read_size",
    "safe_file_stem",
    "sentence",
    "shared_ssl_context",
    "tls_context",
]
