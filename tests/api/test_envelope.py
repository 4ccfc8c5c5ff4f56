import json

from hypothesis import given, settings
from hypothesis import strategies as st

from drystone.api.envelope import failure, success

REQUEST_ID = "00112233-4455-4677-a899-aabbccddeeff"


def test_success_and_failure() -> None:
    assert json.loads(success({"DiskIdSet": ("disk-1",), "Nothing": None}, REQUEST_ID)) == {
        "Response": {"DiskIdSet": ["disk-1"], "Nothing": None, "RequestId": REQUEST_ID}
    }
    assert json.loads(failure("InvalidDisk.Busy", "The disk is busy.", REQUEST_ID)) == {
        "Response": {
            "Error": {"Code": "InvalidDisk.Busy", "Message": "The disk is busy. (aabbccddeeff)"},
            "RequestId": REQUEST_ID,
        }
    }


@settings(deadline=None)
@given(st.text() | st.sampled_from(["\ud800", "a\r\nb", "\x1b[2J", "\u202e"]))
def test_any_message_can_be_told(message: str) -> None:
    told = json.loads(failure("InternalError", message, REQUEST_ID))["Response"]["Error"]["Message"]
    assert told.endswith("(aabbccddeeff)")
    assert told.isprintable()
