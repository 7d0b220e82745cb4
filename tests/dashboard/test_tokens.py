"""The token: made once, for its owner alone."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from queuectl.dashboard.tokens import TokenError, kept_token, read_token


def test_a_token_is_made_once_and_kept_for_its_owner(tmp_path: Path) -> None:
    first = kept_token(tmp_path)
    [path] = tmp_path.iterdir()

    assert len(first) >= 40
    assert kept_token(tmp_path) == first
    assert path.stat().st_mode & 0o777 == 0o600


def test_two_databases_have_two_tokens(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]

    for folder in folders:
        folder.mkdir()

    assert len({kept_token(folder) for folder in folders}) == 2


def test_the_token_of_a_read_only_dashboard_is_another_one(tmp_path: Path) -> None:
    full = kept_token(tmp_path)
    reading = kept_token(tmp_path, read_only=True)

    assert reading != full
    assert [kept_token(tmp_path), kept_token(tmp_path, read_only=True)] == [full, reading]


def test_whoever_starts_at_once_gets_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        tokens = set(threads.map(kept_token, [tmp_path] * 32))

    assert len(tokens) == 1
    assert len(list(tmp_path.iterdir())) == 1


def written(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    path = folder / "token"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_the_first_line_of_a_file_is_the_token(tmp_path: Path) -> None:
    path = written(tmp_path, b"  0123456789abcdef==  \r\nwhat follows\n")

    assert read_token(path) == "0123456789abcdef=="


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o602])
def test_a_file_that_others_have_a_part_in_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(TokenError, match="others") as caught:
        read_token(written(tmp_path, b"0123456789abcdef", mode))

    assert "chmod 600" in str(caught.value.hint)


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"short", b"\n0123456789abcdef", b"\xff" * 20, b"0123456789abcde\x1b"]
)
def test_a_token_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(TokenError, match="16 characters"):
        read_token(written(tmp_path, content))


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)

    for path in (tmp_path / "none", tmp_path, pipe):
        with pytest.raises(TokenError):
            read_token(path)
