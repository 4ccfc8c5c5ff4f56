"""What operations remember is read as an older version wrote it, and written as it is read."""

import msgspec
import pytest

from drystone.domain.operation import PAYLOADS, OperationKind
from drystone.domain.payloads import DeletionPayload, Payload, RollbackPayload, SnapshotPayload
from tests.domain.payloads import FREEZE, WRITTEN


@pytest.mark.parametrize("kind", OperationKind)
def test_each_kind_reads_what_was_written(kind: OperationKind) -> None:
    found = msgspec.json.decode(WRITTEN[kind], type=PAYLOADS[kind])
    assert type(found) is PAYLOADS[kind]
    again = msgspec.json.encode(found, order="sorted")
    assert msgspec.json.decode(again, type=PAYLOADS[kind]) == found


def test_what_an_older_version_wrote_means_the_same() -> None:
    frozen = msgspec.json.decode(WRITTEN[OperationKind.SNAPSHOT], type=SnapshotPayload)
    assert (frozen.freeze.carry, frozen.freeze.lost, frozen.audit) == (frozenset({"a"}), True, "everything")
    assert frozen.transcript == ("one line",)
    dead = msgspec.json.decode(WRITTEN[OperationKind.DELETE_SNAPSHOT], type=DeletionPayload).dead
    assert dead == {"p1": 3, "p2": (4, 4096)}
    plan = msgspec.json.decode(WRITTEN[OperationKind.ROLLBACK], type=RollbackPayload).plan
    assert plan is not None
    assert plan.path == "/x"


def test_equal_payloads_are_equal_text() -> None:
    """A row is compared with what it is expected to be."""
    one, other = (
        SnapshotPayload(
            freeze=msgspec.json.decode(FREEZE.replace('["a"]', names), type=SnapshotPayload.__annotations__["freeze"]),
            session=msgspec.json.decode('"5e"'),
        )
        for names in ('["a","b","c"]', '["c","b","a"]')
    )
    assert msgspec.json.encode(one, order="sorted") == msgspec.json.encode(other, order="sorted")


def test_a_misspelt_key_is_refused() -> None:
    """Deletion goes by the freeze of an operation: one that is not found would lose a pin."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode('{"freze":{},"session":"5e"}', type=SnapshotPayload)
    assert msgspec.json.decode('{"anything":1}', type=Payload) == Payload()
