"""How people log in to the console: a password for each account, and sessions of browsers."""

from dataclasses import dataclass, field

from drystone.domain.errors import Refusal, RefusalError
from drystone.domain.ids import AccountId

SESSION_PREFIX = "console-"
"""What the trail, and a key that a session made, call the session begins with it."""
PASSWORD_CHARS_MIN = 10
PASSWORD_CHARS_MAX = 256
"""Far above what anybody types; hashing takes longer for longer ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Password:
    """An account's password as it is kept: hashed by argon2id, with its parameters and salt."""

    account_id: AccountId
    hashed: str = field(repr=False)
    changed_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BrowserSession:
    """A browser that has logged in. Its token is a secret of the browser; here is its hash only."""

    token_hash: str
    account_id: AccountId
    created_at: float
    used_at: float
    """When it was last used, to the minute or so."""

    @property
    def public_id(self) -> str:
        """What the audit trail calls it, and keys that it made."""
        return public_id(self.token_hash)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLimits:
    """When a session ends by itself, seconds."""

    idle_s: float
    """After it was last used."""
    age_s: float
    """After it began, however much it is used."""

    def over(self, session: BrowserSession, now: float) -> bool:
        """Tell whether a session has ended, by the steady clock.

        One that is dated further ahead than it may live, by a clock that was wrong, has ended too: else it never would.
        """
        return abs(now - session.used_at) >= self.idle_s or abs(now - session.created_at) >= self.age_s


def public_id(token_hash: str) -> str:
    """Return what a session is called where others see it."""
    return f"{SESSION_PREFIX}{token_hash[:16]}"


def check_new_password(password: str) -> None:
    """Refuse a password that is too short, too long, or that a keyboard cannot give again.

    Length is what counts; rules on kinds of characters make passwords that people write down.

    Raises:
        RefusalError: `BAD_VALUE`.
    """
    if not PASSWORD_CHARS_MIN <= len(password) <= PASSWORD_CHARS_MAX:
        raise RefusalError(
            Refusal.BAD_VALUE,
            f"The password has {len(password)} characters; {PASSWORD_CHARS_MIN} to {PASSWORD_CHARS_MAX} are allowed.",
        )
    if not password.isprintable():
        raise RefusalError(Refusal.BAD_VALUE, "The password has characters that cannot be typed.")
