"""What the wire needs to know of the configuration."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """Settings of the API, taken from the configuration by the composition root."""

    region: str
    time_zone_offset_hours: float = 8
    """Zone of the times that are written without one (CBS writes Beijing time)."""
    rate_limits: bool = True
    rate_per_action: float = 20
    """Calls per second of one action by one account (documented: 20)."""
    rates_per_action: Mapping[str, float] = field(default_factory=lambda: {"DescribeDisks": 100})
    """Actions with another limit (documented: DescribeDisks 100)."""
    rate_per_account: float = 400
    """Calls per second of one account, of all actions together."""
    gateway_host_names: tuple[str, ...] = tuple(
        f"{service}.tencentcloudapi.com" for service in ("cbs", "cvm", "drystone", "sts", "tag")
    )
    """Names that a client may have signed when a gateway on the way changed Host."""
    calls_max: int = 1024
    """Calls in progress at a time; more are refused at once."""
    calls_per_account_max: int = 256
    """The same of one account."""
    buffered_bytes_max: int = 64_000_000
    """Bodies held in memory at a time, all calls together."""
    body_s_max: float = 60
    """How long a client may take to send a body."""
    metrics_token: str | None = field(default=None, repr=False)
    """What who reads `/metrics` from elsewhere must send; None lets everybody read."""
