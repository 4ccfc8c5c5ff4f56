"""What may be asked of a new disk, or of one whose way of charging changes, as far as no row is needed to say so."""

from drystone.domain.disk import ENCRYPT_TYPES, POSTPAID, PREPAID
from drystone.domain.disk_types import DISK_TYPES, EXTRA_PERFORMANCE_GIB_MIN, EXTRA_TYPES, SOLD_TYPES
from drystone.domain.errors import ProtocolError, Refusal, RefusalError, UnavailableError
from drystone.domain.ids import KeyId
from drystone.engine.layout import Layout
from drystone.objects.contract import NotFoundError
from drystone.service.requests import NewDisks
from drystone.snapstore.key_files import KeyFiles

MONTH_SECONDS = 30 * 86400.0
PERIODS = (*range(1, 13), 24, 36)
"""Months that a prepaid disk is had for, or renewed by (CBS)."""
RENEW_FLAGS = ("DISABLE_NOTIFY_AND_MANUAL_RENEW", "NOTIFY_AND_AUTO_RENEW", "NOTIFY_AND_MANUAL_RENEW")
BACKUP_QUOTA_MAX = 1024


def check_new(new: NewDisks, *, zone: str, disks_per_call: int, sealed: bool) -> None:
    """Refuse what no disk here can be; only with a `sealed` store may it be encrypted.

    Raises:
        RefusalError: `BAD_VALUE`, `NOT_SOLD`, `MISSING` or `TOO_MANY`.
    """
    if new.zone != zone:
        raise _bad_value(f"Zone `{new.zone}` is unknown; this installation has {zone}.")
    if new.placement_extra:
        names = ", ".join(key for key, _ in new.placement_extra)
        raise _not_sold(f"There are no dedicated clusters or cages here ({names}).")
    if new.charge_type not in {POSTPAID, PREPAID}:
        raise _bad_value(f"DiskChargeType `{new.charge_type}` is unknown; use {POSTPAID} or {PREPAID}.")
    if new.charge_type == PREPAID and new.prepaid_period is None:
        raise RefusalError(Refusal.MISSING, "A PREPAID disk needs DiskChargePrepaid with its Period.")
    if new.prepaid_period is not None:
        check_period("Period", new.prepaid_period)
    if new.renew_flag is not None:
        check_renew_flag(new.renew_flag)
    kind = DISK_TYPES.get(new.disk_type)
    if kind is None:
        raise _bad_value(f"DiskType `{new.disk_type}` is unknown; use one of {', '.join(SOLD_TYPES)}.")
    if not kind.sold:
        raise _not_sold(
            f"{new.disk_type} is of the previous generation and is not sold; use one of {', '.join(SOLD_TYPES)}."
        )
    if not 1 <= new.count <= disks_per_call:
        raise RefusalError(
            Refusal.TOO_MANY,
            f"DiskCount is {new.count}; one call makes 1 to {disks_per_call} disks.",
        )
    if new.delete_snapshot not in {0, 1}:
        raise _bad_value(f"DeleteSnapshot is {new.delete_snapshot}; 0 and 1 are allowed.")
    if not 0 <= new.project_id < 1 << 63:
        raise _bad_value("ProjectId is out of bounds.")
    check_backup_quota(new.backup_quota)
    _check_features(new, sealed=sealed)


def kek_of(layout: Layout, word: str | None) -> KeyId | None:
    """Return the key that wraps those of a new encrypted disk: the one that is named, or the installation's own.

    Raises:
        RefusalError: `BAD_VALUE`: no key here has that id or name, or it cannot be used.
    """
    files = KeyFiles(layout.keys)
    try:
        return files.default_id() if word is None else files.chosen(word).key.key_id
    except (NotFoundError, ProtocolError, UnavailableError) as error:
        told = "there is none" if isinstance(error, NotFoundError) else "it cannot be used"
        raise _bad_value(f"KmsKeyId is `{word}`, and {told}; `drystone key list` shows the keys.") from error


def check_extra(new: NewDisks, size_gib: int) -> None:
    """Refuse extra performance for a disk that is too small for it.

    Raises:
        RefusalError: `BAD_VALUE`.
    """
    throughput = new.throughput_performance > 0
    if (throughput or new.burst_performance) and not DISK_TYPES[new.disk_type].may_have_extra(
        size_gib, throughput=throughput
    ):
        raise _bad_value(f"Extra performance needs a disk over {EXTRA_PERFORMANCE_GIB_MIN} GiB, not {size_gib}.")


def check_throughput(disk_type: str, mb_per_s: int) -> None:
    """Refuse more bought throughput than a type has, MiB/s.

    Raises:
        RefusalError: `BAD_VALUE`.
    """
    most = DISK_TYPES[disk_type].extra_mb_per_s_max
    if mb_per_s > most:
        raise _bad_value(f"ThroughputPerformance is {mb_per_s} MB/s; {disk_type} has at most {most}.")


def check_period(parameter: str, months: int) -> None:
    """Refuse months that no disk is had for.

    Raises:
        RefusalError: `BAD_VALUE`.
    """
    if months not in PERIODS:
        raise _bad_value(f"{parameter} is {months} months; 1 to 12, 24 and 36 are allowed.")


def check_renew_flag(flag: str) -> None:
    """Refuse a word that is no renewal flag.

    Raises:
        RefusalError: `BAD_VALUE`.
    """
    if flag not in RENEW_FLAGS:
        raise _bad_value(f"RenewFlag `{flag[:60]}` is unknown; use one of {', '.join(RENEW_FLAGS)}.")


def check_backup_quota(count: int) -> None:
    """Refuse a number of backup points that no disk may have.

    Raises:
        RefusalError: `BAD_VALUE`.
    """
    if not 0 <= count <= BACKUP_QUOTA_MAX:
        raise _bad_value(f"DiskBackupQuota is {count}; 1 to {BACKUP_QUOTA_MAX} are allowed, and 0 for none.")


def _check_features(new: NewDisks, *, sealed: bool) -> None:
    if new.encrypt is not None and new.encrypt != "ENCRYPT":
        raise _bad_value(f"Encrypt is `{new.encrypt}`; the only value is ENCRYPT.")
    if new.kms_key_id is not None and new.encrypt is None:
        raise _bad_value("KmsKeyId needs Encrypt.")
    if new.encrypt is not None and (new.shareable or new.auto_mount_instance is not None):
        raise _bad_value("Encrypt excludes Shareable and AutoMountConfiguration.")
    if new.encrypt_type is not None and (new.encrypt is None or new.encrypt_type not in ENCRYPT_TYPES):
        raise _bad_value(f"EncryptType is `{new.encrypt_type}`; with Encrypt it is {' or '.join(ENCRYPT_TYPES)}.")
    if new.encrypt is not None and not sealed:
        raise _not_sold("Encrypted disks need a sealed snapshot store, and that of this installation is not.")
    for asked, what in (
        (new.shareable, "Shareable disks"),
        (new.auto_mount_instance is not None, "Mounting inside an instance"),
    ):
        if asked:
            raise _not_sold(f"{what} are not available in this installation.")
    wants_extra = new.throughput_performance != 0 or new.burst_performance
    if new.throughput_performance < 0 or (wants_extra and new.disk_type not in EXTRA_TYPES):
        raise _bad_value(f"ThroughputPerformance and BurstPerformance are for {' and '.join(EXTRA_TYPES)}.")
    check_throughput(new.disk_type, new.throughput_performance)


def _bad_value(message: str) -> RefusalError:
    return RefusalError(Refusal.BAD_VALUE, message)


def _not_sold(message: str) -> RefusalError:
    return RefusalError(Refusal.NOT_SOLD, message)
