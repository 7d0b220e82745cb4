"""Views to HTML: the templates, and what they all see."""

from pathlib import Path
from typing import Final

import msgspec
from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from queuectl.dashboard.links import Links, here
from queuectl.dashboard.panes.notice import notice

_FOLDER: Final = Path(__file__).parent / "templates"

# Read when this is imported: a request must not wait for a disk, nor the event loop with it.
_SOURCES: Final = {
    path.relative_to(_FOLDER).as_posix(): path.read_text(encoding="utf-8")
    for path in sorted(_FOLDER.rglob("*.html"))
}

_ENVIRONMENT: Final = Environment(
    autoescape=True,
    loader=DictLoader(_SOURCES),
    lstrip_blocks=True,
    trim_blocks=True,
    undefined=StrictUndefined,
)
# For what charts.py drew, and nothing else: it escapes its words itself.
_ENVIRONMENT.filters["drawing"] = Markup


def render(request: Request, name: str, view: msgspec.Struct, *, status: int = 200) -> HTMLResponse:
    """
    Return a page.

    Args:
        request: What was asked; its application has a ``state.site``.
        name: Of the pane.
        view: What it shows.
        status: The HTTP status.
    """
    template = _ENVIRONMENT.get_template(f"{name}.html")
    page = template.render(
        **_seen(request),
        view=view,
        pane=name,
        here=here(request.scope["path"], request.query_params.multi_items()),
        notice=notice(request.query_params),
    )
    return HTMLResponse(page, status_code=status)


def render_fragment(request: Request, pane: str, part: str, view: msgspec.Struct) -> str:
    """
    Return the inside of an element of a page.

    Args:
        request: As for `render`.
        pane: The name of the pane.
        part: The id of the element.
        view: What the pane shows.
    """
    return _ENVIRONMENT.get_template(f"{pane}/{part}.html").render(
        **_seen(request), view=view, pane=pane
    )


def _seen(request: Request) -> dict[str, object]:
    """Return what every template sees."""
    links = Links(request.scope.get("root_path", "").rstrip("/"))
    return {"link": links.to, "back_to": links.back, "site": request.app.state.site}
