"""Client tokens: a call that is repeated with its token gets the answer of the first, and does nothing."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, replace

from sqlalchemy import Connection

from drystone.catalog import tokens
from drystone.catalog.tokens import ClientToken
from drystone.domain.errors import Refusal, RefusalError
from drystone.domain.ids import AccountId
from drystone.service.caller import Caller
from drystone.service.requests import NewDisks

TOKEN_CHARS_MAX = 64
KEPT_S = 2 * 86_400
"""A token is honoured for a day at least (CBS); two, so that a prune is never early."""
PRUNED_MAX = 100
"""Old tokens removed in passing by each new one: more than are added."""


def request_hash(request: NewDisks) -> str:
    """Return what tells one request from another, whatever its token."""
    # Tags are a set: clients build theirs from maps, whose order differs from call to call.
    placement = tuple(sorted(request.placement_extra))
    fields = asdict(replace(request, client_token=None, tags=tuple(sorted(request.tags)), placement_extra=placement))
    if request.policy_id is None:
        del fields["policy_id"]  # Versions before had none, and their tokens are honoured.
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def check_token(token: str) -> None:
    """Refuse a token that cannot be one.

    Raises:
        RefusalError: `BAD_TOKEN`.
    """
    if not 0 < len(token) <= TOKEN_CHARS_MAX or not token.isascii() or not token.isprintable():
        raise RefusalError(
            Refusal.BAD_TOKEN,
            f"ClientToken must be 1 to {TOKEN_CHARS_MAX} printable ASCII characters; this has {len(token)}.",
        )


def replayed(conn: Connection, caller: Caller, *, token: str, hashed: str) -> Mapping[str, object] | None:
    """Return what the first call with this token was answered; None when this is the first.

    To be called in the transaction that acts and remembers, so that of two calls at once one acts.

    Raises:
        RefusalError: `BAD_TOKEN` when the first call asked for something else.
    """
    check_token(token)
    known = tokens.get(conn, caller.account_id, token)
    if known is None:
        return None
    if (known.action, known.request_hash) != (caller.action, hashed):
        raise RefusalError(
            Refusal.BAD_TOKEN,
            "This ClientToken was used with other parameters; use a new token for a new request.",
        )
    return known.response


def forget(conn: Connection, account_id: AccountId, *, token: str) -> None:
    """Let go of a token whose call failed after all: a retry must act, not be answered with what was never made.

    To be called in the transaction that ends the work, since the call itself may have ended long before.
    """
    tokens.delete(conn, account_id, token)


def remember(
    conn: Connection, caller: Caller, *, token: str, hashed: str, response: Mapping[str, object], now: float
) -> None:
    """Keep what a call is answered, in the transaction that acts; and let some old tokens go."""
    tokens.prune(conn, now - KEPT_S, PRUNED_MAX)
    tokens.insert(
        conn,
        ClientToken(
            account_id=caller.account_id,
            token=token,
            action=caller.action,
            request_hash=hashed,
            response=response,
            created_at=now,
        ),
    )
