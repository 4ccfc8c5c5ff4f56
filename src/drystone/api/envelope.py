"""The response bodies of API 3.0: one JSON object, always under `Response`, always with a RequestId."""

from collections.abc import Mapping

import msgspec

CONTENT_TYPE = b"application/json"
"""Exactly this: with a charset behind it the official Python client does not see an error at all."""

_encode = msgspec.json.Encoder().encode


def success(fields: Mapping[str, object], request_id: str) -> bytes:
    """Return the body of an answer with these fields."""
    return _encode({"Response": {**fields, "RequestId": request_id}})


def failure(code: str, message: str, request_id: str) -> bytes:
    """Return the body of a refusal; its message ends with the last 12 hex digits of the request's id.

    What a client sent may be quoted in the message: text that is not valid Unicode is replaced, so this never fails,
    and so is what would begin a new line or drive a terminal.
    """
    shown = "".join(c if c.isprintable() else " " for c in message)
    text = f"{shown} ({request_id[-12:]})".encode("utf-8", "replace").decode()
    return _encode({"Response": {"Error": {"Code": code, "Message": text}, "RequestId": request_id}})
