"""The rules for what a webhook may be, in words for people."""

import base64
import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final
from urllib.parse import SplitResult, urlsplit

from queuectl.engine.domain.spec_rules import check_tags
from queuectl.engine.domain.states import JobState
from queuectl.engine.domain.webhooks import WATCHED
from queuectl.engine.errors import InvalidJobError, InvalidValueError, quoted

# Characters. What browsers and proxies take; most are far shorter.
LONGEST_URL: Final = 2000

# Bytes of a secret: what Standard Webhooks asks for.
_SHORTEST_SECRET: Final = 24
_LONGEST_SECRET: Final = 64
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 (what all secrets begin with)

# Everything that a URL may be written with, which leaves out blanks, controls and \.
_URL: Final = re.compile(r"[A-Za-z0-9\-._~:/?\[\]@!$&'()*+,;=%]+")

# A host and a port, and nothing beside them. A name is one that can be looked up.
_PLACE: Final = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9\-._]+))(?::[0-9]*)?")
_NAME: Final = re.compile(r"(?=.{1,253}\.?\Z)[\w\-]{1,63}(?:\.[\w\-]{1,63})*\.?", re.ASCII)

# What ends like this is an address, also where it is written in another way than we read.
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")


def check_url(url: str, *, insecure: bool) -> str:
    """
    Return the address of a webhook.

    Args:
        url: ``https``; or ``http`` where it is of this machine, or `insecure` says so.
        insecure: Whether what is sent may go through a network for all to read.

    Raises:
        InvalidValueError: It is not one that can be used.
    """
    if len(url) > LONGEST_URL:
        msg = f"the URL is longer than {LONGEST_URL} characters"
        raise InvalidValueError(msg)

    if "#" in url or not _URL.fullmatch(url):
        raise _no_url("write special characters as %20")

    parts = _split(url)

    if parts.username is not None or parts.password is not None:
        msg = "no user and no password in a URL, which is shown: deliveries are signed"
        raise InvalidValueError(msg)

    if parts.scheme == "http" and not (insecure or is_loopback(parts.hostname or "")):
        msg = (
            "http can be read by all on the way: use https, or say that it is on purpose"
            " (insecure=True, --insecure)"
        )
        raise InvalidValueError(msg)

    return url


def check_on(on: Iterable[JobState | str]) -> tuple[JobState, ...]:
    """
    Return the states that a webhook is told of, each once.

    Raises:
        InvalidValueError: There is none, or one is not such a state.
    """
    wanted = [on] if isinstance(on, str) else list(on)
    others = [state for state in wanted if state not in WATCHED]

    if others or not wanted:
        names = ", ".join(state.value for state in WATCHED)
        note = f"; not of {quoted(str(others[0]))}" if others else ""
        msg = f"a webhook is told of one or more of: {names}{note}"
        raise InvalidValueError(msg)

    return tuple(state for state in WATCHED if state in wanted)


def check_webhook_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """
    Return the tags of a webhook, each once.

    Raises:
        InvalidValueError: One is not a tag that a job can have.
    """
    given = tuple(dict.fromkeys([tags] if isinstance(tags, str) else tags))

    try:
        check_tags(given)
    except InvalidJobError as error:
        raise InvalidValueError(str(error)) from None

    return given


def check_secret(secret: str) -> str:
    """
    Return a secret that somebody brings along.

    Raises:
        InvalidValueError: It is not ``whsec_`` and the base64 of 24 to 64 bytes. The
            message does not show it.
    """
    key = secret.removeprefix(SECRET_PREFIX)

    try:
        size = len(base64.b64decode(key, validate=True)) if key != secret else 0
    except ValueError:
        size = 0

    if not _SHORTEST_SECRET <= size <= _LONGEST_SECRET:
        msg = (
            f"a secret is {SECRET_PREFIX} and the base64 of {_SHORTEST_SECRET} to"
            f" {_LONGEST_SECRET} bytes"
        )
        raise InvalidValueError(msg)

    return secret


def is_loopback(host: str) -> bool:
    """Whether what is sent to a host, in small letters, stays on this machine."""
    address = _address(host)
    return is_loopback_name(host) if address is None else address.is_loopback


def is_address(host: str) -> bool:
    """Whether a host is an address already."""
    return _address(host) is not None


def is_loopback_name(host: str) -> bool:
    """Whether a host, in small letters, is a name for this machine, whatever resolvers say."""
    return host == "localhost" or host.endswith(".localhost")


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _no_url("it needs a host") from None

    # Nobody listens at port 0.
    if parts.scheme not in {"http", "https"} or not _is_place(parts.netloc) or port == 0:
        raise _no_url("it is http or https, and has a host")

    return parts


def _no_url(why: str) -> InvalidValueError:
    """Return the error for what is none: without it, for a password may be anywhere in it."""
    return InvalidValueError(f"not a URL that can be called, as https://example.com/hook: {why}")


def _is_place(netloc: str) -> bool:
    """Whether somebody can be called there; users and passwords are seen to elsewhere."""
    if (found := _PLACE.fullmatch(netloc.rpartition("@")[2])) is None:
        return False

    if (name := found["name"]) is None:
        return _address(found["v6"]) is not None

    if _NUMBER.fullmatch(name.removesuffix(".").rpartition(".")[2]):
        return _address(name) is not None

    return _NAME.fullmatch(name) is not None


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
