"""Who calls, as far as a verified request tells."""

from dataclasses import dataclass, field

from drystone.domain.errors import Refusal, RefusalError
from drystone.domain.ids import AccountId


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """An enabled access key and whose it is; the secret is not part of any text form."""

    account_id: AccountId
    admin: bool
    secret_key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """One call's origin. Every use case acts for `account_id` and sees nothing of another account."""

    account_id: AccountId
    admin: bool
    secret_id: str
    request_id: str
    action: str
    source: str
    """The client's address."""
    browser: bool = False
    """Whether it came through a session of the console; `secret_id` then names the session."""
    confirmed: bool = False
    """Whether the password was given again for this very call."""

    def require_password(self) -> None:
        """Refuse a browser what outlives its session, unless the password was given again (S153).

        Raises:
            RefusalError: `PASSWORD_NEEDED`.
        """
        if self.browser and not self.confirmed:
            raise RefusalError(Refusal.PASSWORD_NEEDED, "Give your password again, and do this anew.")

    def require_admin(self, what: str | None = None) -> None:
        """Refuse what only an administrator's account may do: the call, or as what `what` names it.

        Raises:
            RefusalError: `NOT_ALLOWED`.
        """
        if not self.admin:
            raise RefusalError(
                Refusal.NOT_ALLOWED,
                f"{what or self.action} is for administrators; account {self.account_id} is not one.",
            )
