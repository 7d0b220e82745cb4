from contextlib import suppress

import pytest
from hypothesis import given, strategies as st

from queuectl.engine.domain.sizes import LARGEST, parse_size
from queuectl.engine.errors import InvalidValueError

FORMS = "(expected a number of bytes, or 512K, 10M, 1G, also as 10MiB)"


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("+5", 5),
        ("0K", 0),
        ("512K", 524_288),
        ("512k", 524_288),
        ("10M", 10_485_760),
        ("1G", 1_073_741_824),
        ("3KiB", 3072),
        ("3 KiB", 3072),
        ("10mib", 10_485_760),
        ("1 GiB", 1_073_741_824),
        ("  1G\n", 1_073_741_824),
        ("9007199254740992", LARGEST),
        ("8388608G", LARGEST),
    ],
)
def test_a_size_is_bytes_or_a_number_with_a_unit(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "abc", "M", "5.", "0.5", "1.5G", "1e3", "1_000", "inf", "nan", "0x10"),
        *("5B", "10KB", "10MB", "1GB", "10Ki", "1T", "1PiB", "1M1K", "1  M", "\u0661", "\ud800"),
    ],
    ids=ascii,
)
def test_what_is_not_a_size_is_refused_with_the_forms_that_are(text: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        parse_size(text)

    assert str(caught.value) == f"not a size: {text!r} {FORMS}"


@pytest.mark.parametrize(
    "text", ["-1", "-1K", "9007199254740993", "8388609G", "1" * 90, "1" * 120], ids=len
)
def test_a_size_out_of_range_is_refused_with_the_range(text: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        parse_size(text)

    assert str(caught.value) == f"out of range: {text!r} (expected 0 to 9007199254740992 bytes)"


def test_a_number_of_thousands_of_digits_is_refused_like_any_other() -> None:
    with pytest.raises(InvalidValueError, match=r"\Aout of range: '9+"):
        parse_size("9" * 10_000)


@given(st.text() | st.text("0123456789KMGiB +-."))
def test_any_text_is_a_size_or_refused(text: str) -> None:
    with suppress(InvalidValueError):
        assert 0 <= parse_size(text) <= LARGEST


@given(st.integers(0, LARGEST))
def test_a_number_of_bytes_is_read_as_it_is(size: int) -> None:
    assert parse_size(str(size)) == size
    assert parse_size(f"{size >> 10} KiB") == size >> 10 << 10
