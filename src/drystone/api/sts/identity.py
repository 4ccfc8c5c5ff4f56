"""Whose key a call was signed with."""

from typing import TypedDict

from drystone.api.actions import Action, Context
from drystone.api.sts.service import STS
from drystone.service.caller import Caller


class _Identity(TypedDict):
    Arn: str
    AccountId: str
    UserId: str
    PrincipalId: str
    Type: str


@STS.read
class GetCallerIdentity(Action, frozen=True, kw_only=True):
    """Tell which account calls; there are no users below it here."""

    async def __call__(self, on: Context, caller: Caller) -> _Identity:  # noqa: ARG002 - an action's signature
        account_id = caller.account_id
        return {
            "Arn": f"qcs::cam:{account_id}:uin/{account_id}",
            "AccountId": account_id,
            "UserId": account_id,
            "PrincipalId": account_id,
            "Type": "CAMUser",
        }
