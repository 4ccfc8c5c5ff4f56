"""Calls of the two services, by the official SDK."""

import ipaddress
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from drystone.cli.failure import refused
from drystone.client_settings import ClientSettings

PAGE = 100
"""Rows per call: the most that the service gives."""
ATTEMPTS = 6
"""Calls in all when the rate limit refuses: it refuses before anything is done, so repeating is safe."""
FIRST_DELAY_S = 0.1
REQUEST_TIMEOUT_S = 60
HOLDING = frozenset({"CreateSnapshot", "CreateSnapshotGroup"})
"""They answer when the applications that were held go on."""
HOLDING_TIMEOUT_S = 240
"""The server's own limits come to 210 s: 30 until the disk rests, 90 until all is held, 30 to flush, 60 to thaw."""
DRYSTONE_VERSION = "2026-11-01"

Wire = dict[str, Any]
"""One JSON object as the service gives it."""


class Gateway:
    """The CBS service through its typed client, Drystone's own service through the SDK's common client.

    Args:
        settings: Where and with which key.
        sleep: Waits for some seconds, between attempts that the rate limit refused.
        timeout_s: How long an answer is waited for.
    """

    def __init__(
        self, settings: ClientSettings, *, sleep: Callable[[float], None], timeout_s: int = REQUEST_TIMEOUT_S
    ) -> None:
        # The SDK takes most of a second to import: `--help` and usage errors do without.
        from tencentcloud.cbs.v20170312 import models  # noqa: PLC0415 - see above
        from tencentcloud.cbs.v20170312.cbs_client import CbsClient  # noqa: PLC0415
        from tencentcloud.common.common_client import CommonClient  # noqa: PLC0415
        from tencentcloud.common.credential import Credential  # noqa: PLC0415
        from tencentcloud.common.exception import tencent_cloud_sdk_exception  # noqa: PLC0415
        from tencentcloud.common.profile.client_profile import ClientProfile  # noqa: PLC0415
        from tencentcloud.common.profile.http_profile import HttpProfile  # noqa: PLC0415

        url = urlsplit(settings.endpoint)
        profile = ClientProfile(
            httpProfile=HttpProfile(
                protocol=url.scheme,
                endpoint=url.netloc,
                reqTimeout=timeout_s,
                keepAlive=True,
                certification=settings.tls_ca,
            ),
            language="en-US",
        )
        credential = Credential(settings.secret_id, settings.secret_key)
        self._endpoint = settings.endpoint
        self._key_source = settings.source or "the program"
        self._sleep = sleep
        self._timeout_s = timeout_s
        self._models = models
        self._failure: type[Exception] = tencent_cloud_sdk_exception.TencentCloudSDKException
        self._cbs = CbsClient(credential, settings.region, profile)
        self._drystone = CommonClient("drystone", DRYSTONE_VERSION, credential, settings.region, profile)
        if _is_loopback(url.hostname or ""):
            for client in (self._cbs, self._drystone):
                # A proxy of the environment cannot reach this machine's own loopback, and the SDK has no
                # setting that switches it off.
                client.request.conn.proxy = None
                client.request.conn._session.trust_env = False  # noqa: SLF001 - see above

    def cbs(self, doing: str, action: str, **parameters: object) -> Wire:
        """Call an action of CBS.

        Args:
            doing: The act in words, for an error's message.
            action: Its name.
            **parameters: Its parameters; those that are None are left out.

        Raises:
            CliError: The call failed, or was refused.
        """
        # The SDK has no time limit per call; one call runs at a time.
        self._cbs.request.conn.timeout = HOLDING_TIMEOUT_S if action in HOLDING else self._timeout_s
        request = getattr(self._models, f"{action}Request")()
        request.from_json_string(json.dumps(_given(parameters)))
        answer: Wire = json.loads(
            self._attempt(doing, lambda: getattr(self._cbs, action)(request).to_json_string()),
        )
        return answer

    def drystone(self, doing: str, action: str, **parameters: object) -> Wire:
        """Call an action of Drystone's own service; as `cbs`."""
        raw = self._attempt(doing, lambda: json.dumps(self._drystone.call_json(action, _given(parameters))))
        answer: Wire = json.loads(raw)["Response"]
        return answer

    def cbs_rows(self, doing: str, action: str, rows: str, key: str, *, limit: int, **parameters: object) -> list[Wire]:
        """Read the rows of a Describe action of CBS, page by page.

        Args:
            doing: The act in words.
            action: The action's name.
            rows: Name of the list in its answer.
            key: Field that tells rows apart: a row that moves to the next page meanwhile is given once.
            limit: Most rows to read.
            **parameters: Further parameters.
        """
        return _paged(self.cbs, doing, action, rows, key, limit, parameters)

    def drystone_rows(
        self, doing: str, action: str, rows: str, key: str, *, limit: int, **parameters: object
    ) -> list[Wire]:
        """Read the rows of a Describe action of Drystone's own service; as `cbs_rows`."""
        return _paged(self.drystone, doing, action, rows, key, limit, parameters)

    def _attempt(self, doing: str, call: Callable[[], str]) -> str:
        delay_s = FIRST_DELAY_S
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return call()
            except self._failure as error:
                code, message = str(getattr(error, "code", "")), getattr(error, "message", "")
                if isinstance(message, bytes):
                    message = message.decode("utf-8", "replace")
                if code.startswith("RequestLimitExceeded") and attempt < ATTEMPTS:
                    self._sleep(delay_s)
                    delay_s *= 2
                    continue
                if code in {"JSONDecodeError", "KeyError", "TypeError", "AttributeError", "ValueError"}:
                    code = "ServerNetworkError"  # the SDK could not read the answer: no Drystone server
                raise refused(doing, code, str(message), self._endpoint, self._key_source) from None
            except (ValueError, KeyError, TypeError) as error:
                raise refused(doing, "ServerNetworkError", str(error), self._endpoint, self._key_source) from None
        raise AssertionError("the last attempt returns or raises")


def _paged(
    call: Callable[..., Wire],
    doing: str,
    action: str,
    rows: str,
    key: str,
    limit: int,
    parameters: dict[str, object],
) -> list[Wire]:
    found: dict[str, Wire] = {}
    offset = 0
    while len(found) < limit:
        answer = call(doing, action, Offset=offset, Limit=min(PAGE, limit - len(found)), **parameters)
        page = answer.get(rows) or []
        found.update((" ".join(str(row[name]) for name in key.split()), row) for row in page)
        offset += len(page)
        if not page or offset >= int(answer.get("TotalCount") or 0):
            break
    return list(found.values())


def _given(parameters: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in parameters.items() if value is not None}


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
