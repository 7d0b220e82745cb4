"""What deceives where text is shown is made visible."""

import json

from queuectl import escape_json, escape_line, escape_text

HOSTILE = "a\x1b[2J\x9b\u202eb\u200b\ud800\U000e0041\r\nc\td"


def test_lines_and_tabs_stay_and_what_deceives_is_made_visible() -> None:
    assert escape_text(HOSTILE) == r"a\x1b[2J\x9b\u202eb\u200b\ud800\U000e0041\r" + "\nc\td"


def test_of_a_line_they_are_made_visible_too() -> None:
    assert escape_line("a\nb\tc\x7f") == r"a\nb\tc\x7f"


def test_what_languages_need_stays() -> None:
    assert escape_line("né → 日本 👍 \u200d") == "né → 日本 👍 \u200d"


def test_json_means_the_same() -> None:
    text = json.dumps("\x9b\u202e\U000e0041", ensure_ascii=False)

    assert escape_json(text) == r'"\u009b\u202e\udb40\udc41"'
    assert json.loads(escape_json(text)) == json.loads(text)
