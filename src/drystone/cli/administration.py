"""The commands on instances, operations, accounts, the host, and shell completion."""

from typing import Annotated, Literal

from cyclopts import App, Parameter
from cyclopts.validators import Number

from drystone.cli import lookup
from drystone.cli.failure import CliError, Exit
from drystone.cli.lists import Record
from drystone.cli.lookup import ACCOUNT, DISK, INSTANCE, OPERATION, SNAPSHOT
from drystone.cli.naming import AccountName, InstanceName, OperationId, ResourceName
from drystone.cli.options import LIST_LIMIT, Limit, Timeout, Yes, add_command
from drystone.cli.records import (
    ACCOUNT_COLUMNS,
    GOING,
    IN_VAIN,
    INSTANCE_COLUMNS,
    KEY_COLUMNS,
    OPERATION_COLUMNS,
    STEP_COLUMNS,
    clock_record,
    history_record,
    host_record,
    key_record,
    quota_record,
)
from drystone.cli.session import (
    NO_LIST_OPTIONS,
    NO_OPTIONS,
    NO_SHOW_OPTIONS,
    Commands,
    CommonOptions,
    ListOptions,
    Outside,
    Session,
    ShowOptions,
)
from drystone.cli.wait import Step, wait_for_operation, wait_until

OPERATION_TIMEOUT_S = 86_400.0
"""Of what was cancelled: to do that twice is the same as once."""

Quota = Annotated[int | None, Parameter(validator=Number(gte=0, lte=1 << 40))]


def instance_app(outside: Outside) -> App:
    """Return the commands `drystone instance ...`."""
    app = App(name="instance", help="Instances: what disks are attached to.")
    commands = InstanceCommands(outside)
    add_command(app, commands.list_, "list", "drystone instance list")
    add_command(app, commands.show, "show", "drystone instance show host --json")
    add_command(app, commands.create, "create", "drystone instance create --kind NBD --name vm1")
    add_command(app, commands.delete, "delete", "drystone instance delete ins-1a2b3c4d --yes")
    return app


class InstanceCommands(Commands):
    """See `Commands`."""

    def list_(self, *, limit: Limit = LIST_LIMIT, common: ListOptions = NO_LIST_OPTIONS) -> None:
        """List instances.

        Args:
            limit: Maximum number of instances to list.
            common: Options that every list takes.
        """
        session = self._outside.session(common)
        session.out.records(lookup.matching(session, INSTANCE, limit=limit), INSTANCE_COLUMNS)

    def show(self, instance: InstanceName, /, *, common: ShowOptions = NO_SHOW_OPTIONS) -> None:
        """Show one instance.

        Args:
            instance: Id or name; `host` and `nbd` stand for the server's two ready instances.
            common: Options that every command takes.
        """
        session = self._outside.session(common)
        identity = lookup.id_of(session, INSTANCE, instance)
        session.out.record(lookup.one(session, INSTANCE, identity))

    def create(
        self,
        *,
        kind: Literal["HOST", "NBD"] = "NBD",
        name: str | None = None,
        common: CommonOptions = NO_OPTIONS,
    ) -> None:
        """Create an instance and print its id.

        Args:
            kind: NBD: its disks are served on unix sockets, for VMs and tools. HOST: they become block devices
                of the server's host; for the administrator.
            name: Name of the instance.
            common: Options that every command takes.
        """
        session = self._outside.session(common)
        answer = session.service.drystone("create an instance", "CreateInstance", Kind=kind, InstanceName=name)
        identity = str(answer["InstanceId"])
        made = lookup.some(session, INSTANCE, [identity])
        session.out.result([identity], made[0] if made else {"instance_id": identity})

    def delete(self, instance: InstanceName, /, *, yes: Yes = False, common: CommonOptions = NO_OPTIONS) -> None:
        """Delete an instance that no disk is attached to.

        Args:
            instance: Id or name.
            yes: Do not ask.
            common: Options that every command takes.
        """
        session = self._outside.session(common)
        identity = lookup.id_of(session, INSTANCE, instance)
        session.out.confirm(f"This deletes instance {identity}.", yes=yes)
        session.service.drystone(f"delete {identity}", "DeleteInstance", InstanceId=identity)
        session.out.result([identity], {"deleted_instance_id": identity})


def operation_app(outside: Outside) -> App:
    """Return the commands `drystone operation ...`."""
    app = App(name="operation", help="Operations: what the server does and has done.")
    commands = OperationCommands(outside)
    add_command(
        app,
        commands.list_,
        "list",
        "drystone operation list --state RUNNING",
        "drystone operation list --resource disk-1a2b3c4d",
    )
    add_command(app, commands.show, "show", "drystone operation show op-1a2b3c4d --json")
    add_command(app, commands.logs, "logs", "drystone operation logs op-1a2b3c4d")
    add_command(app, commands.wait, "wait", "drystone operation wait op-1a2b3c4d")
    add_command(app, commands.cancel, "cancel", "drystone operation cancel op-1a2b3c4d --yes")
    add_command(app, commands.retry, "retry", "drystone operation retry op-1a2b3c4d")
    return app


class OperationCommands(Commands):
    """See `Commands`."""

    def list_(
        self,
        *,
        resource: ResourceName | None = None,
        state: Literal["RUNNING", "DONE", "FAILED", "CANCELLED"] | None = None,
        kind: str | None = None,
        limit: Limit = LIST_LIMIT,
        common: ListOptions = NO_LIST_OPTIONS,
    ) -> None:
        """List operations.

        Args:
            resource: Only those on this disk, snapshot or instance: its id or name, or DISK@NAME.
            state: Only those in this state; RUNNING has those that are being cancelled, too.
            kind: Only those of this kind: create_disk, snapshot, rollback, hydrate, resize, attach, ...
            limit: Maximum number of operations to list.
            common: Options that every list takes.
        """
        session = self._outside.session(common)
        on = None if resource is None else lookup.resource_of(session, resource, DISK, SNAPSHOT, INSTANCE)
        # For the server what was cancelled has failed.
        ended = state in IN_VAIN
        found = lookup.matching(
            session, OPERATION, limit=max(limit, LIST_LIMIT) if ended else limit, resource_id=on,
            state="FAILED" if ended else state, kind=kind,
        )  # fmt: skip
        session.out.records([one for one in found if not ended or one["state"] == state][:limit], OPERATION_COLUMNS)

    def show(self, operation: OperationId, /, *, common: ShowOptions = NO_SHOW_OPTIONS) -> None:
        """Show one operation, and how long each of its phases took.

        Args:
            operation: Its id.
            common: Options that every command takes.
        """
        session = self._outside.session(common)
        record = lookup.one(session, OPERATION, operation)
        session.out.record({**record, "phases": self._history(session, record)["phases"]})

    def logs(self, operation: OperationId, /, *, common: ListOptions = NO_LIST_OPTIONS) -> None:
        """List what an operation did, step by step: the newest hundred steps.

        Args:
            operation: Its id.
            common: Options that every list takes.
        """
        session = self._outside.session(common)
        steps = self._history(session, lookup.one(session, OPERATION, operation))["steps"]
        assert isinstance(steps, list)
        session.out.records(steps, STEP_COLUMNS)

    def _history(self, session: Session, operation: Record) -> Record:
        identity = operation["operation_id"]
        answer = session.service.drystone(f"read what {identity} did", "DescribeOperationHistory", OperationId=identity)
        return history_record(answer, cancelled=operation["state"] == "CANCELLED")

    def wait(
        self,
        operation: OperationId,
        /,
        *,
        timeout: Timeout = OPERATION_TIMEOUT_S,
        common: CommonOptions = NO_OPTIONS,
    ) -> None:
        """Wait until an operation has ended; the exit code is 1 if it failed.

        Args:
            operation: Its id.
            timeout: Timeout in seconds.
            common: Options that every command takes.
        """
        session = self._outside.session(common)
        session.out.record(wait_for_operation(session, operation, title=operation, timeout_s=timeout))

    def cancel(
        self,
        operation: OperationId,
        /,
        *,
        yes: Yes = False,
        wait: bool = True,
        timeout: Timeout = OPERATION_TIMEOUT_S,
        common: CommonOptions = NO_OPTIONS,
    ) -> None:
        """Cancel an operation: what it did so far is undone, and it ends as CANCELLED.

        Snapshots that are being stored, restore tests, exports, imports, comparisons, compactions and rewrites can be
        cancelled; a rollback only until it begins to write. What cannot be cancelled says why.

        Args:
            operation: Its id.
            yes: Do not ask.
            wait: Wait until it has been undone.
            timeout: Timeout in seconds.
            common: Options that every command takes.
        """
        session = self._outside.session(common)
        record = lookup.one(session, OPERATION, operation)
        if record["state"] not in GOING | {"CANCELLED"}:
            raise CliError(Exit.REFUSED, f"{operation} ({record['kind']}) has ended already: {record['state']}")
        session.out.confirm(f"This cancels {operation} ({record['kind']}).", yes=yes)
        session.service.drystone(f"cancel {operation}", "CancelOperation", OperationId=operation)

        def look() -> Step:
            now = lookup.one(session, OPERATION, operation)
            return Step(done=now["state"] not in GOING, phase="is being undone")

        if wait:
            wait_until(session, look, title=operation, timeout_s=timeout)
        session.out.result([operation], lookup.one(session, OPERATION, operation))

    def retry(
        self,
        operation: OperationId,
        /,
        *,
        wait: bool = True,
        timeout: Timeout = OPERATION_TIMEOUT_S,
        common: CommonOptions = NO_OPTIONS,
    ) -> None:
        """Do again what an operation failed of, and print the new operation's id.

        Args:
            operation: Its id.
            wait: Wait until the new one has ended.
            timeout: Timeout in seconds.
            common: Options that every command takes.
        """
        session = self._outside.session(common)
        answer = session.service.drystone(f"try {operation} again", "RetryOperation", OperationId=operation)
        again = str(answer["OperationId"])
        if wait:
            wait_for_operation(session, again, title=again, timeout_s=timeout)
        session.out.result([again], lookup.one(session, OPERATION, again))


def account_app(outside: Outside) -> App:
    """Return the commands `drystone account ...`."""
    app = App(name="account", help="Accounts and their access keys; for the administrator.")
    commands = AccountCommands(outside)
    add_command(app, commands.create, "create", "drystone account create team-web --json > key.json")
    add_command(app, commands.list_, "list", "drystone account list")
    add_command(
        app,
        commands.password,
        "password",
        "drystone account password admin",
        "pass show drystone | drystone account password admin --stdin",
    )
    add_command(
        app,
        commands.quota,
        "quota",
        "drystone account quota",
        "drystone account quota team-web --disks 20 --disk-gib 2000",
    )
    keys = App(name="key", help="Access keys of an account.")
    add_command(keys, commands.create_key, "create", "drystone account key create 100000000001 --json > key.json")
    add_command(keys, commands.list_keys, "list", "drystone account key list team-web")
    add_command(keys, commands.delete_key, "delete", "drystone account key delete AKIDxxxxxxxxxxxxxxxx --yes")
    app.command(keys)
    return app


class AccountCommands(Commands):
    """See `Commands`."""

    def create(self, name: str, /, *, common: CommonOptions = NO_OPTIONS) -> None:
        """Create an account with one access key; the secret is shown only now.

        Args:
            name: Name of the account.
            common: Options that every command takes.
        """
        session = self._outside.session(common)
        answer = session.service.drystone(f"create account {name}", "CreateAccount", AccountName=name)
        session.out.record(
            {
                "account_id": answer["AccountId"],
                "secret_id": answer["SecretId"],
                "secret_key": answer["SecretKey"],
            },
        )
        session.out.say("keep the secret key: it is not shown again")

    def list_(self, *, limit: Limit = LIST_LIMIT, common: ListOptions = NO_LIST_OPTIONS) -> None:
        """List accounts.

        Args:
            limit: Maximum number of accounts to list.
            common: Options that every list takes.
        """
        session = self._outside.session(common)
        session.out.records(lookup.matching(session, ACCOUNT, limit=limit), ACCOUNT_COLUMNS)

    def quota(
        self,
        account: AccountName | None = None,
        /,
        *,
        disks: Quota = None,
        disk_gib: Quota = None,
        default: Annotated[bool, Parameter(negative="", show_default=False)] = False,
        common: CommonOptions = NO_OPTIONS,
    ) -> None:
        """Show your account's use and quotas, or, as the administrator, set how many disks an account may have.

        A limit that is not given is set to the server's configuration.

        Args:
            account: Id or name of the account whose quota to set.
            disks: Most disks; 0 is no limit.
            disk_gib: Most GiB of all its disks together; 0 is no limit.
            default: Give the account the configured quota again.
            common: Options that every command takes.
        """
        session = self._outside.session(common)
        given = disks is not None or disk_gib is not None
        if account is None and not given and not default:
            session.out.record(quota_record(session.service.drystone("read the quotas", "DescribeQuotas")))
            return
        if account is None or given == default:
            raise CliError(Exit.USAGE, "give an account, and --disks, --disk-gib or --default")
        identity = lookup.id_of(session, ACCOUNT, account)
        session.service.drystone(
            f"set the quota of {account}", "SetAccountQuota", AccountId=identity, Disks=disks, DiskGib=disk_gib
        )

    def password(
        self,
        account: AccountName,
        /,
        *,
        stdin: Annotated[bool, Parameter(negative="", show_default=False)] = False,
        common: CommonOptions = NO_OPTIONS,
    ) -> None:
        """Set an account's password for the console; whoever is logged in to it there is logged out.

        Args:
            account: Its id or name.
            stdin: Read the password from standard input. Without it one is created, and shown only now.
            common: Options that every command takes.
        """
        session = self._outside.session(common)
        given = session.out.secret("New password: ") if stdin else None
        whose = {"AccountId" if ACCOUNT.ids.fullmatch(account) else "AccountName": account}
        answer = session.service.drystone(
            f"set the password of {account}", "SetAccountPassword", Password=given, **whose
        )
        if given is None:
            session.out.record({"account_name": account, "password": answer["Password"]})
            session.out.say("keep the password: it is not shown again")
        else:
            session.out.result([account], {"account_name": account})

    def create_key(self, account: AccountName, /, *, common: CommonOptions = NO_OPTIONS) -> None:
        """Create another access key of an account; the secret is shown only now.

        Args:
            account: Its id or name.
            common: Options that every command takes.
        """
        session = self._outside.session(common)
        identity = lookup.id_of(session, ACCOUNT, account)
        answer = session.service.drystone(f"create a key of account {account}", "CreateAccessKey", AccountId=identity)
        session.out.record({"secret_id": answer["SecretId"], "secret_key": answer["SecretKey"]})
        session.out.say("keep the secret key: it is not shown again")

    def list_keys(self, account: AccountName, /, *, common: ListOptions = NO_LIST_OPTIONS) -> None:
        """List the access keys of an account, without their secrets.

        Args:
            account: Its id or name.
            common: Options that every list takes.
        """
        session = self._outside.session(common)
        identity = lookup.id_of(session, ACCOUNT, account)
        answer = session.service.drystone(
            f"list the keys of account {account}", "DescribeAccessKeys", AccountId=identity
        )
        session.out.records([key_record(row) for row in answer.get("KeySet") or []], KEY_COLUMNS)

    def delete_key(self, secret_id: str, /, *, yes: Yes = False, common: CommonOptions = NO_OPTIONS) -> None:
        """Delete an access key; whoever uses it is locked out at once.

        Args:
            secret_id: The key's public half.
            yes: Do not ask.
            common: Options that every command takes.
        """
        session = self._outside.session(common)
        session.out.confirm(f"This deletes access key {secret_id}.", yes=yes)
        session.service.drystone(f"delete key {secret_id}", "DeleteAccessKey", SecretId=secret_id)
        session.out.result([secret_id], {"deleted_secret_id": secret_id})


def host_app(outside: Outside) -> App:
    """Return the commands `drystone host ...`."""
    app = App(name="host", help="The machine that serves; for the administrator.")

    def show(*, common: ShowOptions = NO_SHOW_OPTIONS) -> None:
        """Show the server's version, space, counts and storage daemons.

        Args:
            common: Options that every command takes.
        """
        session = outside.session(common)
        session.out.record(host_record(session.service.drystone("read the host", "DescribeHost")))

    def confirm_clock(*, yes: Yes = False, common: CommonOptions = NO_OPTIONS) -> None:
        """Confirm that the server's clock is right after it has jumped: snapshots expire again at once.

        Shows what the clocks said before. Without this nothing expires before the clock has stood for 24 hours, or was
        set right.

        Args:
            yes: Do not ask.
            common: Options that every command takes.
        """
        session = outside.session(common)
        found = session.service.drystone("read the host", "DescribeHost")["Clock"]
        session.out.confirm(f"The server's clock says {found['MachineTime']}. Is that right?", yes=yes)
        answer = session.service.drystone("confirm the clock", "ConfirmClock")
        session.out.record(clock_record(answer["Clock"]))

    add_command(app, show, "show", "drystone host show --json")
    add_command(app, confirm_clock, "confirm-clock", "drystone host confirm-clock --yes")
    return app
