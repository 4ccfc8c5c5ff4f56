"""What a bucket does by itself, found out for `drystone store check`: nothing of it is needed, each has its cost."""

import contextlib
from collections.abc import Callable
from typing import Final

from drystone.domain.errors import RetainedError, UnavailableError
from drystone.domain.times import moment
from drystone.objects.contract import ObjectStore
from drystone.objects.s3_rules import RefusedError, S3Rules, Version
from drystone.offline.findings import Finding, WrongError, tried

LOCKED_S: Final = 120.0
"""For how long the probe of a lock is kept, if the key may not remove it before."""
UPLOAD_S: Final = 86_400.0
"""No upload of one object takes as long."""
_NAMED_MAX: Final = 5


def check_rules(rules: S3Rules, objects: ObjectStore, probe: str) -> tuple[Finding, ...]:
    """Look at what a bucket does by itself.

    Args:
        rules: Its.
        objects: What is in it.
        probe: Name of an object to lock and to delete; it goes, at the latest with the next check.
    """

    def looked(name: str, ask: Callable[[], str | None], means: str, do: str) -> Finding:
        return tried(name, lambda: _asked(ask), means, do, needed=False)

    return (
        looked(
            "old versions", lambda: _versions(rules),
            "what was deleted or replaced stays as an old version, in no listing, and is paid for for ever",
            "give the bucket a rule that expires noncurrent versions and lone delete markers, and nothing else",
        ),
        looked(
            "default retention", lambda: _default(rules),
            "what is deleted earlier stays until then, pending or as an old version, and is paid for; what a snapshot "
            "needs for longer is not protected any more after that",
            "keep it shorter than snapshots live if space matters, or take it away",
        ),
        looked(
            "locks", lambda: _lock(rules, objects, probe), "no lock of this service protects anything",
            "do not count on it: keep copies that must not be deleted elsewhere",
        ),
        looked(
            "unfinished uploads", lambda: _uploads(rules),
            "their parts are stored and paid for, and are in no listing of objects",
            "nothing: the server removes those that are older than a week, once a day",
        ),
    )  # fmt: skip


def _asked(ask: Callable[[], str | None]) -> str | None:
    try:
        return ask()
    except RefusedError as error:
        return f"not looked at: {error}"


def _versions(rules: S3Rules) -> str | None:
    if not rules.versioned():
        return None
    if rules.expires_versions():
        return "the bucket keeps old versions for a time"
    raise WrongError("the bucket keeps old versions, and no rule of it removes them")


def _default(rules: S3Rules) -> None:
    found = rules.default_retention()
    if found is not None:
        raise WrongError(f"each object is locked for {found.days} days from its writing ({found.mode})")


def _lock(rules: S3Rules, objects: ObjectStore, probe: str) -> str:
    """Lock an object and try to delete it: services were seen that accept locks and do not keep them."""
    if not rules.locks():
        return "objects of the bucket cannot be locked: whoever has its keys can delete them"
    version = Version(name=probe, id=rules.put_locked(probe, rules.time() + LOCKED_S))
    if rules.retention(probe) is None:
        raise WrongError("a lock is accepted, and is not there when it is asked for")
    try:
        if version.id:
            rules.delete_version(version)
        else:
            objects.delete(probe)
    except (RefusedError, RetainedError):
        with contextlib.suppress(UnavailableError):
            rules.delete_version(version, bypass=True)
        return "locks are accepted and enforced: a locked probe was not deleted"
    raise WrongError("a lock is accepted and not enforced: a locked probe was deleted")


def _uploads(rules: S3Rules) -> None:
    before = rules.time() - UPLOAD_S
    old = sorted((one for one in rules.uploads() if one.begun_at < before), key=lambda one: one.begun_at)
    if old:
        names = ", ".join(one.name for one in old[:_NAMED_MAX]) + (", ..." if len(old) > _NAMED_MAX else "")
        since = moment(old[0].begun_at).isoformat(timespec="seconds")
        raise WrongError(f"{len(old)} uploads in parts were begun and not ended, the oldest at {since}: {names}")
