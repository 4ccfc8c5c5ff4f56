"""What an error of obstore says: the service's code, and one line for people."""

import re
from typing import Final

_TEXT_MAX: Final = 300
_CODE: Final = re.compile(r"<Code>([A-Za-z0-9]+)</Code>")
_MESSAGE: Final = re.compile(r"<Message>([^<]+)</Message>")
_CAUSES: Final = (
    # The library tells these in a dump of its values alone.
    (
        re.compile(r"InvalidCertificate\(\s*([A-Za-z]+)"),
        "the certificate is not trusted ({}); if it is of an own authority, name that in store_ca_file",
    ),
    (re.compile(r'"dns error"'), "the name of the host is not known"),
    (re.compile(r'message: "(Connection refused|[A-Z][a-z ]*unreachable|No route to host)"'), "{}"),
    (re.compile(r"(?:kind: Timeout|TimedOut)"), "no answer in time"),
    (re.compile(r"IncompleteMessage|ConnectionReset|UnexpectedEof"), "the connection ended before the answer"),
    (re.compile(r"InvalidContentType|InvalidMessage"), "no TLS is spoken there; perhaps it is http://"),
    (re.compile(r'Unsuccessful|"proxy|Proxy'), "the proxy does not connect"),
)


def code_of(error: Exception) -> str:
    """Return the service's code; empty if it has said none."""
    return _found(_CODE, error)


def said(error: Exception) -> str:
    """Return one line of what the service says, or of why it was not reached; it has no keys."""
    text = ": ".join(filter(None, (code_of(error), _found(_MESSAGE, error)))) or _cause(str(error))
    return (text or (str(error).splitlines() or [type(error).__name__])[0])[:_TEXT_MAX]


def _cause(text: str) -> str:
    for pattern, words in _CAUSES:
        found = pattern.search(text)
        if found is not None:
            return words.format(*found.groups())
    return ""


def _found(pattern: re.Pattern[str], error: Exception) -> str:
    found = pattern.search(str(error))
    return "" if found is None else found[1]
