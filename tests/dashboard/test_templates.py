"""Every page and every live part: what is text stays text, and what leads somewhere leads there."""

import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from urllib.parse import urlsplit

import msgspec
import pytest
from starlette.routing import compile_path

from queuectl import JobState
from queuectl.dashboard.links import PATHS
from queuectl.dashboard.panes.dlq import dlq_view
from queuectl.dashboard.panes.jobs import jobs_view
from queuectl.dashboard.panes.registry import PANES
from queuectl.dashboard.panes.site import Site
from queuectl.dashboard.templates import render, render_fragment
from tests.dashboard.views import every_view, make_cause, make_page, make_request
from tests.factories import NOW, make_job

HOSTILE = (
    "'\"><img src=x onerror=alert(1)></title></textarea></pre></svg></script>"
    "<script>alert(1)</script>\x1b[31m\u202e\u200b&amp;{{ 7*7 }}"
)

# Elements that have no end in HTML.
VOID = frozenset({"br", "hr", "img", "input", "link", "meta"})

Elements = list[tuple[str, dict[str, str]]]

HOSTILE_VIEWS = every_view(HOSTILE)
PLAIN_VIEWS = every_view("plain")
views = pytest.mark.parametrize("name", HOSTILE_VIEWS)


class Reader(HTMLParser):
    """Reads a page: its elements with their attributes, its text, whether all is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: Elements = []
        self.text = ""
        self.open: list[str] = []
        self.strays: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.strays.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    return reader


def page(name: str, view: msgspec.Struct, path: str = "/", root: str = "", query: str = "") -> str:
    request = make_request(path, root=root, query=query)
    return bytes(render(request, name, view).body).decode()


def shape(reader: Reader) -> list[tuple[str, list[str]]]:
    """Return the elements with the names of their attributes: what text must not change."""
    return [(tag, sorted(attributes)) for tag, attributes in reader.elements]


@views
def test_text_of_others_makes_no_element_and_no_attribute(name: str) -> None:
    hostile = read(page(*HOSTILE_VIEWS[name]))
    plain = read(page(*PLAIN_VIEWS[name]))

    assert shape(hostile) == shape(plain)
    assert not any(
        attribute.startswith("on") for _, attributes in hostile.elements for attribute in attributes
    )


@views
def test_a_page_has_no_inline_code_and_no_inline_style(name: str) -> None:
    elements = read(page(*HOSTILE_VIEWS[name])).elements

    assert [attributes["src"] for tag, attributes in elements if tag == "script"] == [
        "/static/app.js"
    ]
    assert not any(tag == "style" or "style" in attributes for tag, attributes in elements)
    assert not any(
        "javascript:" in value for _, attributes in elements for value in attributes.values()
    )


# What a person typed stays in its field as it was typed.
@pytest.mark.parametrize("name", [each for each in HOSTILE_VIEWS if "enqueue" not in each])
def test_what_cannot_be_seen_or_turns_the_writing_is_made_visible(name: str) -> None:
    text = read(page(*HOSTILE_VIEWS[name])).text

    assert not set("\x1b\u202e\u200b") & set(text)


@pytest.mark.parametrize("name", ["overview", "jobs", "dlq", "scheduled", "job", "error"])
def test_hostile_text_can_be_read(name: str) -> None:
    html = page(*HOSTILE_VIEWS[name])

    assert "\\u202e" in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


@views
def test_a_page_is_well_formed(name: str) -> None:
    reader = read(page(*HOSTILE_VIEWS[name]))
    ids = [attributes["id"] for _, attributes in reader.elements if "id" in attributes]

    assert reader.strays == []
    assert reader.open == []
    assert len(ids) == len(set(ids))
    assert [tag for tag, _ in reader.elements].count("h1") == 1
    assert [tag for tag, _ in reader.elements].count("main") == 1


@views
def test_every_drawing_is_an_svg_that_parses(name: str) -> None:
    html = page(*HOSTILE_VIEWS[name])
    begin = html.find("<svg")

    while begin >= 0:
        end = html.index("</svg>", begin) + len("</svg>")
        ET.fromstring(html[begin:end])  # noqa: S314 (our own)
        begin = html.find("<svg", end)


@views
def test_every_link_and_form_leads_to_a_route(name: str) -> None:
    routes = [compile_path(path.replace("{path}", "{path:path}"))[0] for path in PATHS.values()]

    for _, attributes in read(page(*PLAIN_VIEWS[name])).elements:
        for attribute in ("href", "src", "action", "formaction", "data-live"):
            path = urlsplit(attributes.get(attribute, "")).path
            assert not path or any(route.match(path) for route in routes), path


@views
def test_under_another_root_every_link_stays_under_it(name: str) -> None:
    for _, attributes in read(page(*PLAIN_VIEWS[name], root="/queue")).elements:
        for attribute in ("href", "src", "action", "formaction", "data-live"):
            target = attributes.get(attribute, "")
            assert not target or target.startswith(("/queue/", "#")), target


@views
def test_every_field_and_button_has_a_name_for_screen_readers(name: str) -> None:
    reader = read(page(*PLAIN_VIEWS[name]))
    labelled = {attributes.get("for") for tag, attributes in reader.elements if tag == "label"}

    for tag, attributes in reader.elements:
        is_asked = tag in {"select", "textarea"} or (
            tag == "input" and attributes.get("type") not in {"hidden", "checkbox", "search"}
        )
        assert (
            not is_asked or attributes.get("id") in labelled or attributes["name"] == "older_than"
        )


# The pages that ask and enqueue are not given out then.
@pytest.mark.parametrize(
    "name", [each for each in PLAIN_VIEWS if each.split()[0] not in {"confirm", "enqueue"}]
)
def test_where_nothing_may_be_changed_no_form_changes_anything(name: str) -> None:
    pane, view = PLAIN_VIEWS[name]

    request = make_request(site=Site(database="/srv/queue.db", may_change=False, may_enqueue=True))
    elements = read(bytes(render(request, pane, view).body).decode()).elements

    assert not any("formaction" in attributes for _, attributes in elements)
    assert not any(attributes.get("name") == "back" for _, attributes in elements)
    # The jobs' list keeps its frame; there is nothing in it to press.
    forms = [
        attributes
        for tag, attributes in elements
        if tag == "form" and attributes["method"] == "post"
    ]
    assert not any("action" in attributes for attributes in forms)
    assert "/enqueue" not in [attributes.get("href") for _, attributes in elements]


@pytest.mark.parametrize(
    ("pane", "part"), [(pane, part) for pane in PANES for part in PANES[pane].parts]
)
def test_a_live_part_is_what_the_page_holds(pane: str, part: str) -> None:
    name, view = HOSTILE_VIEWS[pane]
    html = page(name, view)
    fragment = render_fragment(make_request(), pane, part, view)

    assert f'id="{part}"' in html
    assert fragment in html
    assert read(fragment).strays == []


def test_a_page_comes_back_to_where_it_is_without_its_notice() -> None:
    pane, view = PLAIN_VIEWS["jobs"]
    html = page(pane, view, path="/jobs", query="state=dead&done=retried&count=2&before=7")

    assert "2 jobs went back to the queue." in html
    assert '<input type="hidden" name="back" value="/jobs?state=dead&amp;before=7">' in html


def test_a_notice_says_only_what_we_say() -> None:
    pane, view = PLAIN_VIEWS["jobs"]

    for query in ("done=%3Cb%3Ehello", "done=you+won", "count=7"):
        assert 'class="notice"' not in page(pane, view, path="/jobs", query=query)


def test_strangers_see_neither_the_pages_nor_the_database() -> None:
    html = page(*PLAIN_VIEWS["sign in"])

    assert "/srv/queue.db" not in html
    assert "/dlq" not in html
    assert 'name="token"' in html


def test_the_page_of_a_refused_value_keeps_what_was_typed() -> None:
    elements = read(page(*HOSTILE_VIEWS["enqueue refused"])).elements
    [field] = [attributes for _, attributes in elements if attributes.get("name") == "id"]

    assert field["value"] == HOSTILE
    assert field["aria-invalid"] == "true"
    assert "problem-id" in field["aria-describedby"]


def test_empty_pages_say_what_to_do() -> None:
    for name, command in {
        "overview of an empty queue": "queuectl enqueue -- echo hello",
        "no jobs": "queuectl enqueue -- echo hello",
        "nothing scheduled": "queuectl enqueue --delay 10m -- echo later",
        "no workers": "queuectl worker start --count 4",
    }.items():
        assert command in read(page(*PLAIN_VIEWS[name])).text


def test_a_question_begins_at_what_changes_nothing() -> None:
    for name in ("confirm", "confirm by cause", "confirm purge"):
        elements = read(page(*PLAIN_VIEWS[name])).elements

        assert [tag for tag, attributes in elements if "autofocus" in attributes] == ["a"]


def test_what_starts_commands_that_are_not_named_asks_first_of_one_too() -> None:
    several, one = (make_cause("exit_code=3", count) for count in (2, 1))
    view = dlq_view(make_page(), [several, one], NOW, total=3)
    elements = read(page("dlq", view)).elements
    retries = [
        attributes["formaction"]
        for _, attributes in elements
        if "dlq" in attributes.get("formaction", "")
        and attributes.get("name") in {"all", "reason"}
        and "purge" not in attributes["formaction"]
    ]

    assert retries == ["/confirm/dlq_retry"] * 3


def test_a_browser_that_goes_back_ticks_nothing_by_itself() -> None:
    view = jobs_view(make_page((make_job(),)), dict.fromkeys(JobState, 1), NOW)
    elements = read(page("jobs", view)).elements
    boxes = [each for _, each in elements if each.get("type") == "checkbox"]

    assert {each.get("autocomplete") for each in boxes} == {"off"}
    assert len(boxes) == 2


def test_no_button_becomes_another_that_does_something_else() -> None:
    elements = read(page(*PLAIN_VIEWS["job"], path="/jobs/x")).elements
    keys = [each["data-key"] for _, each in elements if each.get("name") == "job"]

    assert len(keys) > 1
    assert len(set(keys)) == len(keys)


def test_a_job_that_is_deleted_on_its_page_leads_to_the_list() -> None:
    elements = read(page(*PLAIN_VIEWS["job"], path="/jobs/x")).elements
    [button] = [each for _, each in elements if each.get("formaction") == "/confirm/delete"]
    forms: dict[str, str] = {}
    form = ""

    for tag, attributes in elements:
        if tag == "form":
            form = attributes.get("id", "")
        elif attributes.get("name") == "back":
            forms[form] = attributes["value"]

    assert forms == {"one": "/jobs/x", "gone": "/jobs"}
    assert button["form"] == "gone"
