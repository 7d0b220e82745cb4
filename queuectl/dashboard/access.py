"""
Who may talk to the dashboard, and what every answer tells a browser.

A queue of shell commands on loopback is within reach of every web page that its user
opens, and of every user of the machine. So a request has to name a host of ours (a name
that was pointed at us from elsewhere is not one), has to bring the token, and has to
come from our own pages where it changes something.
"""

import hashlib
import hmac
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import msgspec
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECURITY_HEADERS: Final[Mapping[str, str]] = {
    # No inline code, no other site, no frame around us.
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
        " img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    # Nothing to other sites. Not no-referrer: with that, browsers say `Origin: null`
    # for our own forms, and where they send no Sec-Fetch-Site, which is everywhere
    # but on localhost and over TLS, nothing else tells us that they are ours.
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}

_READING: Final = frozenset({"GET", "HEAD"})
_HOST: Final = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?")
_LINK: Final = "token"

Refuse = Callable[[Request, int, str, str | None], Response]


class Rules(msgspec.Struct, frozen=True):
    """
    What is asked of a request.

    Attributes:
        token: What it has to bring; None where the host application sees to that.
        hosts: The names by which we are reached, with or without a port; without
            one every port will do, for a tunnel comes in by another than ours.
        is_read_only: Whether nothing may be changed.
    """

    token: str | None
    hosts: frozenset[str]
    is_read_only: bool

    @property
    def cookie_name(self) -> str:
        """Ours alone: cookies are shared by all ports of a host, and so by all dashboards on it."""
        return f"queuectl-{self._derived('name')[:12]}"

    @property
    def cookie_value(self) -> str:
        """What stands for the token in the cookie: from it nobody learns the token."""
        return self._derived("value")

    def _derived(self, what: str) -> str:
        key = (self.token or "").encode()
        return hmac.digest(key, f"queuectl dashboard cookie {what}".encode(), hashlib.sha256).hex()


def make_rules(*, token: str | None, hosts: Sequence[str], read_only: bool) -> Rules:
    """
    Return the rules for these arguments of `create_dashboard`.

    Raises:
        ValueError: The token is empty or none for a header, or a host is none.
    """
    if token is not None and not token.strip():
        msg = "the token is empty"
        raise ValueError(msg)

    if token is not None and not (
        token.isascii() and token.isprintable() and token == token.strip()
    ):
        msg = "the token has what no header can carry: only visible ASCII, no space at its ends"
        raise ValueError(msg)

    names = frozenset(host.lower() for host in hosts)

    for name in names:
        if not _HOST.fullmatch(name):
            msg = f"not the name of a host: {name!r}"
            raise ValueError(msg)

    return Rules(token=token, hosts=names, is_read_only=read_only)


class AccessControl:
    """
    The middleware that keeps the rules.

    Args:
        app: What is behind it.
        rules: What is asked of a request.
        refuse: Makes the answer to one that is turned away, of its status, what is
            wrong, and what to do.
    """

    def __init__(self, app: ASGIApp, rules: Rules, refuse: Refuse) -> None:
        self._app = app
        self._rules = rules
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, or turn it away."""
        if scope["type"] == "websocket":
            # There are none here, and what is not there needs no rules.
            await send({"type": "websocket.close", "code": 1008})
            return

        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        request = Request(scope, receive)
        answer = self._judge(request) or self._app
        await answer(scope, receive, _secured(send, is_static=_is_static(request)))

    def _judge(self, request: Request) -> Response | None:
        """Return the answer to a request that goes no further, None for one that may."""
        # Those who probe know an address of the machine, and seldom a name of ours.
        if _is_health(request):
            return None

        host = host_of(request.headers, self._rules.hosts)

        if host is None:
            return self._refuse(
                request,
                421,
                "this name is not one of the dashboard's",
                "names are allowed with --allow-host, or the argument hosts of create_dashboard",
            )

        if request.method in _READING and _is_static(request):
            return None

        return self._judge_token(request) or self._judge_change(request, host)

    def _judge_token(self, request: Request) -> Response | None:
        rules = self._rules

        if rules.token is None:
            return None

        is_signed_in = _has_cookie(request, rules) or has_bearer(request.headers, rules.token)

        if request.method in _READING and _LINK in request.query_params:
            is_right = _is_same(request.query_params[_LINK], rules.token)

            if is_right or is_signed_in:
                return _clean_address(request, rules if is_right else None)

            return self._refuse_token(request, "this token is not the right one")

        return None if is_signed_in else self._refuse_token(request, "this needs the token")

    def _refuse_token(self, request: Request, message: str) -> Response:
        answer = self._refuse(
            request, 401, message, "open the link that queuectl dashboard printed"
        )
        answer.headers["www-authenticate"] = 'Bearer realm="queuectl"'
        return answer

    def _judge_change(self, request: Request, host: str) -> Response | None:
        if request.method in _READING:
            return None

        if not is_from_our_pages(request.headers, host) and not self._is_program(request.headers):
            return self._refuse(request, 403, "this did not come from the dashboard's pages", None)

        if self._rules.is_read_only:
            return self._refuse(request, 403, "this dashboard is read-only", None)

        return None

    def _is_program(self, headers: Headers) -> bool:
        """
        Whether it is no browser that sends this.

        A browser says where a change comes from, and sends no bearer of its own accord.
        """
        if "origin" in headers or "sec-fetch-site" in headers:
            return False

        if self._rules.token is None:
            return headers.get("authorization", "").lower().startswith("bearer ")

        return has_bearer(headers, self._rules.token)


def host_of(headers: Headers, allowed: frozenset[str]) -> str | None:
    """Return the host that a request names, with its port; None where that is none of ours."""
    given = headers.getlist("host")
    found = _HOST.fullmatch(given[0].lower()) if len(given) == 1 else None

    if found is None or not {found[0], found["name"]} & allowed:
        return None

    return found[0]


def is_from_our_pages(headers: Headers, host: str) -> bool:
    """
    Whether a browser says that its page is one of ours.

    Args:
        headers: Of the request.
        host: What it names as its host, with its port.
    """
    sites = headers.getlist("sec-fetch-site")
    origins = headers.getlist("origin")

    if sites:
        return sites == ["same-origin"]

    if len(origins) != 1:
        return False

    try:
        origin = urlsplit(origins[0])
    except ValueError:
        return False

    return origin.scheme in {"http", "https"} and origin.netloc.lower() == host


def has_bearer(headers: Headers, token: str) -> bool:
    """Whether a request brings the token as a program does."""
    given = headers.getlist("authorization")
    kind, _, value = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    return kind.lower() == "bearer" and _is_same(value.strip(), token)


def path_of(scope: MutableMapping[str, object]) -> str:
    """Return the path of a request from where the dashboard is mounted."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    is_below = bool(root) and (path == root or path.startswith(f"{root}/"))
    return path[len(root) :] if is_below else path


def _has_cookie(request: Request, rules: Rules) -> bool:
    return _is_same(request.cookies.get(rules.cookie_name, ""), rules.cookie_value)


def _is_same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(errors="replace"), wanted.encode(errors="replace"))


def _clean_address(request: Request, rules: Rules | None) -> Response:
    """Send a browser to the same address without the token, which it keeps as a cookie."""
    query = [
        pair for pair in parse_qsl(request.url.query, keep_blank_values=True) if pair[0] != _LINK
    ]
    # One slash at its front: two would lead to another host.
    path = "/" + quote(request.scope["path"]).lstrip("/")
    answer = RedirectResponse(f"{path}?{urlencode(query)}" if query else path, 303)

    if rules is not None:
        answer.set_cookie(
            rules.cookie_name,
            rules.cookie_value,
            path=request.scope.get("root_path") or "/",
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )

    return answer


def _is_health(request: Request) -> bool:
    return request.method in _READING and path_of(request.scope) == "/healthz"


def _is_static(request: Request) -> bool:
    return path_of(request.scope).startswith("/static/")


def _secured(send: Send, *, is_static: bool) -> Callable[[Message], Awaitable[None]]:
    """Return a `send` that puts the security headers on the answer."""

    async def send_secured(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.update(SECURITY_HEADERS)
            # A file may be kept, and is asked for again, for the next version has another.
            headers.setdefault("cache-control", "no-cache" if is_static else "no-store")

        await send(message)

    return send_secured
