"""What operations of each kind remember, as a catalog has it."""

import msgspec

from drystone.domain.operation import PAYLOADS, OperationKind
from drystone.domain.payloads import Payload

FREEZE = '{"base":null,"carry":["a"],"epoch":3,"lost":true,"new_bitmap":"b1","old_bitmap":null}'
WRITTEN = {
    OperationKind.CREATE_DISK: '{"client_token":null,"disk_ids":["disk-00000001"],"session":"5e"}',
    OperationKind.SNAPSHOT: (
        f'{{"consistency":"crash","freeze":{FREEZE},"freeze_ms":1.5,"quiesce_ms":null,"session":"5e",'
        '"session_used":true,"taken_at":8.25,"tracking_reason":"","transcript":["one line"],"audit":"everything"}'
    ),
    OperationKind.SNAPSHOT_GROUP: '{"group":"csnap-1","members":["op-1","op-2"]}',
    OperationKind.DELETE_SNAPSHOT: '{"dead":{"p1":3,"p2":[4,4096]}}',
    OperationKind.ROLLBACK: '{"plan":{"path":"/x","sha256":"ab"},"session":"5e","read_bytes":1}',
    OperationKind.HYDRATE: '{"session":"5e"}',
    OperationKind.COMPARE: '{"session":"5e"}',
    OperationKind.RESIZE: '{"size_gib":20}',
    OperationKind.ATTACH: "{}",
    OperationKind.DETACH: "{}",
    OperationKind.TERMINATE: "{}",
    OperationKind.INITIALIZE: "{}",
    OperationKind.EXPORT: '{"format":"raw","identity":[1,2,3,4],"path":"/x","session":"5e"}',
    OperationKind.IMPORT: '{"file":[1,2],"format":"qcow2","path":"/x"}',
    OperationKind.COMPACT: '{"dead_percent":20}',
    OperationKind.PROVE: '{"clone":"disk-2","databases":["mariadb"],"session":"5e","size_gib":10}',
    OperationKind.REWRITE: "{}",
}
"""As versions up to 0.1 wrote them."""


def payload(kind: OperationKind) -> Payload:
    """Return what an operation of this kind remembers, where it does not matter."""
    found: Payload = msgspec.json.decode(WRITTEN[kind], type=PAYLOADS[kind])
    return found
