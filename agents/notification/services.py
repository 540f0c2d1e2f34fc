"""Sends messages through Apprise: chats, mail, paging and the rest.

An Apprise URL holds its service's token. URLs are not logged, and of a failure reported by Apprise
only the HTTP status is kept.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any, Final

from agents.notification.config import read_secret
from agents.notification.threads import DeliveryOutcome
from schemas.errors import TidewatchError, install_extra
from schemas.notifications import NotificationEvent
from schemas.severity import Severity

if TYPE_CHECKING:
    from agents.notification.config import Destination
    from schemas.notifications import Notification

EXTRA: Final = "notify"
ATTEMPT_FACTOR: Final = 3
"""How many time-outs of a destination one attempt may take, connecting and reading included."""
_STATUS: Final = re.compile(r"\berror=(\d{3})\b")


class ServiceError(TidewatchError):
    """An Apprise URL that can't be used, or Apprise is not installed."""


def open_service(destination: Destination, where: str) -> Any:  # noqa: ANN401 -- Apprise's, an extra
    """Return the service of a destination.

    Args:
        destination: One with an Apprise URL.
        where: Its name, for errors.

    Raises:
        ServiceError: Apprise is not installed, or it takes the URL for none of its services.
    """
    try:
        from apprise import Apprise, AppriseAsset, PersistentStoreMode  # noqa: PLC0415 -- an extra
    except ImportError as error:
        raise ServiceError(
            "Apprise is not installed", where=where, remedy=install_extra(EXTRA)
        ) from error
    # its log may contain hosts and tokens; its result is enough
    logging.getLogger("apprise").propagate = False
    seconds = destination.timeout_seconds
    asset = AppriseAsset(
        storage_mode=PersistentStoreMode.MEMORY,
        service_timeout=ATTEMPT_FACTOR * seconds,
        app_id="Tidewatch",
        app_desc="Tidewatch",
        # one attempt at a time, here; its logos would be fetched from elsewhere
        async_mode=False,
        image_url_mask="",
        image_url_logo="",
        http_redirects=False,
    )
    url = destination.apprise
    try:
        if destination.apprise_file is not None:
            url = read_secret(destination.apprise_file)
    except OSError as error:
        raise ServiceError(
            f"the Apprise URL can't be read ({error.strerror})",
            where=str(destination.apprise_file),
            remedy="write it there, readable by this user only",
        ) from error
    # several services would share one attempt, and those that succeeded would get it again
    service = Apprise.instantiate(url, asset=asset) if url and url.split() == [url] else None
    if service is None:
        raise ServiceError(
            "Apprise does not know the service, or the URL is incomplete",
            where=where,
            remedy="compare the URL with Apprise's page of the service; it is one URL",
        )
    service.socket_connect_timeout = service.socket_read_timeout = seconds
    opened = Apprise(asset=asset)
    opened.add(service)
    return opened


def notify(message: Notification, destination: Destination, where: str) -> DeliveryOutcome:
    """Send a message once.

    Args:
        message: The message.
        destination: One with an Apprise URL.
        where: Its name, for errors.

    Returns:
        The outcome.
    """
    from apprise import NotifyFormat, NotifyType  # noqa: PLC0415 -- an extra

    try:
        service = open_service(destination, where)
    except ServiceError as error:
        return DeliveryOutcome(taken=False, detail=error.explain())
    kind = NotifyType.INFO
    if message.event is NotificationEvent.CLOSED:
        kind = NotifyType.SUCCESS
    elif message.severity is Severity.CRITICAL:
        kind = NotifyType.FAILURE
    elif message.severity is Severity.HIGH:
        kind = NotifyType.WARNING
    result = service.notify(
        body=message.body,
        title=message.title,
        notify_type=kind,
        body_format=NotifyFormat.TEXT,
        interpret_escapes=False,
    )
    if result:
        return DeliveryOutcome(taken=True)
    return DeliveryOutcome(
        taken=False, detail=_reason([str(entry.message) for entry in result.logs()])
    )


def _reason(said: list[str]) -> str:
    """Return why a service refused a message: Apprise's output without secrets."""
    for line in said:
        if found := _STATUS.search(line):
            return f"answered {found[1]}"
    if any("connection error" in line.lower() for line in said):
        return "no answer"
    return "the service did not accept it"
