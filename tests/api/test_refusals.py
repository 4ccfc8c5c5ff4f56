"""The table of refusals: what clients make of each, what is documented, and that nothing is refused beside it."""

import ast
import re
from pathlib import Path

import pytest

import drystone
from drystone.api.documented_codes import BESIDE, DOCUMENTED
from drystone.api.refusals import (
    CODES,
    CODES_OF_ACTIONS,
    COMMON,
    DRYSTONE,
    REASONS,
    TABLES,
    Ends,
    code_of,
    ends,
    retried,
)
from drystone.api.services import SERVICES
from drystone.domain.errors import Refusal

CODE = re.compile(r"(?:[A-Z][a-z]+){1,5}(?:\.[A-Za-z]+)?")
FAMILIES = (
    "AuthFailure", "FailedOperation", "InsufficientSnapshotQuota", "InternalError", "Invalid", "LimitExceeded",
    "MissingParameter", "NoSuchVersion", "RequestLimitExceeded", "RequestSizeLimitExceeded", "Resource",
    "ServiceUnavailable",
    "UnauthorizedOperation", "UnknownParameter", "Unsupported",
)  # fmt: skip
NO_CODES = {"InvalidDiskId", "Resource", "ResourceId", "ResourceIds", "ResourceList", "ResourceTagMappingList"}
"""The beginning of several codes, and names of parameters and fields."""
OWN_DOORS = {"AuthFailure.CsrfTokenWrong", "AuthFailure.OriginNotAllowed", "AuthFailure.PasswordWrong",
             "AuthFailure.SessionExpired", "AuthFailure.PasswordNeeded"}  # fmt: skip
"""Of the console's log-in, which no client of the API ever meets."""
OF_OPERATIONS = {"FailedOperation.Cancelled"}
"""No call is refused so; operations end so."""


ROWS = {action: rows for table in TABLES.values() for action, rows in table.items()}
"""What each action of every documented service is refused with."""
LISTS = {**DOCUMENTED, **BESIDE}


def test_each_action_has_its_rows_and_its_documented_list() -> None:
    of_services = {service.name: service for service in SERVICES if service.name != "drystone"}
    assert {name: set(table) for name, table in TABLES.items()} == {
        name: set(service.actions) for name, service in of_services.items()
    }
    assert len(ROWS) == sum(map(len, TABLES.values())), "two services have an action of one name"
    assert set(DOCUMENTED) == of_services["cbs"].known
    assert set(BESIDE) == set(ROWS) - set(TABLES["cbs"])
    assert not {code for codes in LISTS.values() for code in codes} & set(COMMON)
    for rows in (*ROWS.values(), DRYSTONE):
        assert not set(rows) & set(COMMON)


@pytest.mark.parametrize("action", sorted(ROWS))
def test_what_passes_is_tried_again_and_what_does_not_ends_a_run(action: str) -> None:
    """Terraform's rule, imitated: a code that begins with one of three words is tried again for five minutes."""
    for code, how in {**COMMON, **ROWS[action]}.items():
        if (action, code) in REASONS:
            continue
        if how is Ends.NEVER:
            assert not retried(code), (action, code)
        if how is Ends.ALONE:
            assert retried(code), (action, code)


@pytest.mark.parametrize("action", sorted(ROWS))
def test_what_is_not_documented_has_a_reason(action: str) -> None:
    for code in ROWS[action]:
        if code not in LISTS[action]:
            assert (action, code) in REASONS, (action, code)


def test_each_reason_is_needed() -> None:
    for action, code in REASONS:
        how = ROWS[action][code]
        wrong_side = (how is Ends.NEVER and retried(code)) or (how is Ends.ALONE and not retried(code))
        assert wrong_side or code not in LISTS[action], (action, code)


def literals(*folders: str) -> dict[str, str]:
    """Return each text of these folders that has the form of a code, and a file that it stands in."""
    found = {}
    root = Path(drystone.__file__).parent
    for file in (file for folder in folders for file in root.glob(f"{folder}/**/*.py")):
        if file.name in {"refusals.py", "documented_codes.py"}:
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and CODE.fullmatch(text) and text.startswith(FAMILIES):
                found[text] = str(file.relative_to(root))
    return found


def test_every_code_of_the_program_is_in_the_table() -> None:
    listed = {*COMMON, *DRYSTONE, *(code for rows in ROWS.values() for code in rows)}
    found = literals("api")
    assert len(found) > 15
    assert not {code: file for code, file in found.items() if code not in listed | OWN_DOORS | OF_OPERATIONS | NO_CODES}
    own = {code for rows in CODES_OF_ACTIONS.values() for code in rows.values()}
    assert {*CODES.values(), *own} <= listed | OWN_DOORS | OF_OPERATIONS


def test_each_kind_has_a_code_and_the_service_names_none() -> None:
    assert set(CODES) == set(Refusal)
    assert not literals("service", "domain", "transfer", "catalog", "engine").keys() - NO_CODES
    root = Path(drystone.__file__).parent
    named = {name for file in root.glob("**/*.py") for name in re.findall(r"Refusal\.([A-Z_]+)", file.read_text())
             if file.name != "refusals.py"}  # fmt: skip
    assert named == {kind.name for kind in Refusal}


def test_an_action_may_have_a_code_of_its_own_for_a_kind() -> None:
    assert code_of(Refusal.DISK_UNFIT, "AttachDisks") == "InvalidDisk.NotSupported"
    assert code_of(Refusal.DISK_UNFIT, "TerminateDisks") == "UnsupportedOperation"
    assert code_of("InvalidAction", "NoAction") == "InvalidAction"
    actions = {action for service in SERVICES for action in service.actions}
    assert set(CODES_OF_ACTIONS) <= actions
    for action, codes in CODES_OF_ACTIONS.items():
        for kind, code in codes.items():
            assert code != CODES[kind], (action, kind)


def test_a_refusal_is_looked_up() -> None:
    assert ends("cbs", "AttachDisks", "ResourceBusy") is Ends.ALONE
    assert ends("cbs", "AttachDisks", "MissingParameter") is Ends.NEVER
    assert ends("cbs", "AttachDisks", "InvalidFilter") is None
    assert ends("drystone", "ProveSnapshot", "InvalidSnapshotId.NotFound") is Ends.NEVER
