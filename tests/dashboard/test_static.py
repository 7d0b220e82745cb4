"""The files that pages need."""

import pytest

from tests.dashboard.serving import Served


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("app.css", "text/css; charset=utf-8"),
        ("app.js", "text/javascript; charset=utf-8"),
        ("favicon.svg", "image/svg+xml"),
    ],
)
async def test_a_file_is_sent_as_what_it_is_whatever_the_machine_believes(
    site: Served, name: str, kind: str
) -> None:
    answer = await site.stranger.get(f"/static/{name}")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == kind
    assert answer.headers["cache-control"] == "no-cache"


async def test_a_file_that_is_known_is_not_sent_again(site: Served) -> None:
    first = await site.stranger.get("/static/app.js")
    again = await site.stranger.get(
        "/static/app.js", headers={"if-none-match": first.headers["etag"]}
    )
    changed = await site.stranger.get("/static/app.js", headers={"if-none-match": '"older"'})

    assert (again.status_code, again.content) == (304, b"")
    assert changed.content == first.content


@pytest.mark.parametrize("path", ["/static/", "/static/none.js", "/static/app.js/"])
async def test_what_is_no_file_is_not_there(site: Served, path: str) -> None:
    assert (await site.stranger.get(path)).status_code in {404, 307}
