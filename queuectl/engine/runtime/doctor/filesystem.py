"""Where a database is: on what file system, with how much room, and who may read it."""

import os
import re
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from queuectl.engine.domain.findings import Finding, counted, in_bytes, note, ok, problem
from queuectl.engine.errors import listed, named
from queuectl.engine.runtime.doctor.wording import and_again, command, quoted
from queuectl.engine.runtime.folder import StateFolder
from queuectl.engine.store.places import family, wal_file

_MOUNTS: Final = Path("/proc/self/mountinfo")
_MIB: Final = 1024 * 1024
_FULL: Final = 16 * _MIB
_NEARLY_FULL: Final = 256 * _MIB
_LONG_LOG: Final = 64 * _MIB

_NETWORK: Final = re.compile(
    r"9p|acfs|afs|beegfs|ceph|cifs|coda|davfs|drvfs|gfs2?|glusterfs|gpfs|lustre|ncpfs|nfs4?|ocfs2"
    r"|orangefs|prl_fs|pvfs2|smb3|smbfs|vboxsf|vmhgfs"
)
_NETWORK_FUSE: Final = re.compile(
    r"fuse\.(ceph|curlftpfs|davfs2?|gcsfuse|glusterfs|goofys|gvfsd-fuse|juicefs|mfs|moosefs|rclone"
    r"|s3fs|seaweedfs|sshfs|vmhgfs-fuse)"
)
_IN_MEMORY: Final = frozenset({"tmpfs", "ramfs"})
_UNCERTAIN: Final = frozenset({"fakeowner", "fuse", "fuseblk", "virtiofs"})


class Mount(msgspec.Struct, frozen=True, kw_only=True):
    """
    A mounted file system.

    Attributes:
        point: Where it is mounted.
        kind: As ``ext4`` or ``fuse.sshfs``.
    """

    point: str
    kind: str

    @property
    def is_network(self) -> bool:
        """Whether other machines may have it, so that SQLite's log and locks fail on it."""
        return bool(_NETWORK.fullmatch(self.kind) or _NETWORK_FUSE.fullmatch(self.kind))


def mount_of(path: str, mountinfo: str) -> Mount | None:
    """
    Return what a path is on, None where that is not said.

    Args:
        path: Absolute, without links.
        mountinfo: As in ``/proc/self/mountinfo``; see proc(5).
    """
    best: Mount | None = None

    for line in mountinfo.splitlines():
        before, _, behind = line.partition(" - ")
        fields, rest = before.split(" "), behind.split(" ")

        if len(fields) < 5 or len(rest) < 2:  # noqa: PLR2004 (of which the fifth is the point)
            continue

        point = _plain(fields[4])

        # Of two at one place the later one hides the earlier one.
        if _is_within(path, point) and (best is None or len(point) >= len(best.point)):
            best = Mount(point=point, kind=rest[0])

    return best


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _plain(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def check_filesystem(folder: Path) -> list[Finding]:
    """Say what a folder is on; nothing where the system does not tell. Blocking."""
    try:
        mountinfo = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return []

    mount = mount_of(str(folder), mountinfo)
    return [] if mount is None else [judge_mount(folder, mount)]


def judge_mount(folder: Path, mount: Mount) -> Finding:
    """Say whether a database may be on this."""
    words = f"{folder} is on {mount.kind}, mounted at {mount.point}"

    if mount.is_network:
        return problem(
            "filesystem",
            f"{words}: a network file system, where neither SQLite's log nor locks can be trusted",
            "move the database to a local disk while nothing has it open, and name it with --db"
            " or QUEUECTL_DB",
        )

    if mount.kind in _IN_MEMORY:
        return note(
            "filesystem",
            f"{words}: memory, so the queue is gone when the machine is off",
            "keep a queue that matters on a disk: name another file with --db or QUEUECTL_DB",
        )

    if mount.kind in _UNCERTAIN or mount.kind.startswith("fuse."):
        return note(
            "filesystem",
            f"{words}: whether what is written there is on the disk depends on another program",
            "where that is a surprise, name a file on a local disk with --db or QUEUECTL_DB",
        )

    if mount.kind == "overlay":
        return note(
            "filesystem",
            f"{words}: the layer of a container, so the queue is gone when that is removed",
            "keep a queue that matters on a volume: name another file with --db or QUEUECTL_DB",
        )

    return ok("filesystem", words)


def check_room(folder: Path) -> Finding:
    """Say how much room there is. Blocking."""
    found = os.statvfs(folder)
    return judge_room(folder, found.f_bavail * found.f_frsize)


def judge_room(folder: Path, free: int) -> Finding:
    """Say whether so much room is enough."""
    words = f"{in_bytes(free)} are free on the disk of {folder}"
    advice = (
        "free some space: what is biggest there is shown by"
        f" du -xh {shlex.quote(str(folder))} | sort -h | tail"
    )

    if free < _FULL:
        return problem("disk", words, advice)

    return note("disk", words, advice) if free < _NEARLY_FULL else ok("disk", words)


def check_access(path: Path) -> Finding:
    """Say whether this user may change the database, and what is beside it. Blocking."""
    denied = [place for place in (path.parent, *family(path), *_rooms(path)) if _is_denied(place)]
    # Else something further up is in the way, or the disk.
    mendable = [place for place in denied if _is_closed_by_its_owner(place)]

    if not denied:
        words = f"this user may read and write {path.parent} and what belongs to {path}"
        return ok("access", words)

    return problem(
        "access",
        f"this user (uid {os.geteuid()}) may not read and write"
        f" {listed([named(str(place)) for place in denied])}",
        f"chmod u+rwX {quoted(mendable)}{and_again(mendable)}"
        if mendable
        else "be the user that owns it, or look whether the disk is read-only; who may is shown"
        f" by: ls -ld {quoted([path.parent, *family(path)])}",
    )


def _rooms(path: Path) -> Iterator[Path]:
    """Yield the folders in the state folder that this user can see, without following links."""
    state = StateFolder(path)

    for room in (state.workers, state.wake, state.outputs, state.logs):
        yield from _folders(room, depth=2)


def _folders(top: Path, *, depth: int) -> Iterator[Path]:
    try:
        if not stat.S_ISDIR(os.lstat(top).st_mode):
            return

        yield top

        for name in os.listdir(top) if depth > 1 else ():
            yield from _folders(top / name, depth=depth - 1)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        # It went away meanwhile; or what is around it is denied, and is told of.
        return


def _is_denied(place: Path) -> bool:
    mode = os.R_OK | os.W_OK | (os.X_OK if os.path.isdir(place) else 0)
    is_allowed = os.access(place, mode, effective_ids=os.access in os.supports_effective_ids)
    # What went away meanwhile is denied to nobody.
    return not is_allowed and os.path.lexists(place)


def _is_closed_by_its_owner(place: Path) -> bool:
    try:
        found = os.lstat(place)
    except FileNotFoundError:
        return False

    wanted = 0o700 if stat.S_ISDIR(found.st_mode) else 0o600
    return found.st_uid == os.geteuid() and found.st_mode & wanted != wanted


def check_sizes(path: Path) -> Finding:
    """Say how long the database and its log are. Blocking."""
    size, log = _size(path), _size(wal_file(path))
    words = f"the database has {in_bytes(size)}, its write-ahead log {in_bytes(log)}"

    if log <= _LONG_LOG:
        return ok("size", words)

    return note(
        "size",
        f"{words}: something has read it for long, or was killed and nobody came after",
        f"end what has it open for long, which is shown by: fuser -v"
        f" {shlex.quote(str(path))}; then the next change shortens the log, such as:"
        f" {command(path, 'db', 'vacuum')}",
    )


def check_files(path: Path) -> list[Finding]:
    """Say who may read the files, and whether all are what they should be. Blocking."""
    seen = _Seen()
    here = os.geteuid()

    for member, found in _walk(path):
        seen.take(member, found, here)

    return [*_check_folder(path.parent), *seen.findings(path, here)]


class _Seen:
    """What was met among the files of a database."""

    def __init__(self) -> None:
        self._count = 0
        self._links: list[Path] = []
        self._open: list[tuple[Path, int]] = []
        self._foreign: dict[int, list[Path]] = {}

    def take(self, path: Path, found: os.stat_result, here: int) -> None:
        """Look at one of them."""
        self._count += 1

        if stat.S_ISLNK(found.st_mode):
            self._links.append(path)
            return

        if found.st_uid != here:
            self._foreign.setdefault(found.st_uid, []).append(path)

        if found.st_mode & 0o077:
            self._open.append((path, stat.S_IMODE(found.st_mode)))

    def findings(self, path: Path, here: int) -> list[Finding]:
        """Say what was met."""
        found = [
            *self._judge_links(),
            *self._judge_owners(path, here),
            *self._judge_modes(path),
        ]

        if found:
            return found

        words = f"all files and folders of the database ({self._count}) are this user's alone"
        return [ok("permissions", words)]

    def _judge_links(self) -> Iterator[Finding]:
        if self._links:
            yield problem(
                "links",
                f"{counted(len(self._links), 'link')} where there should be none:"
                f" {listed([named(str(link)) for link in self._links])}",
                f"find out who made it, and remove it: rm -- {quoted(self._links)}",
            )

    def _judge_owners(self, path: Path, here: int) -> Iterator[Finding]:
        for uid, members in self._foreign.items():
            yield problem(
                "owner",
                f"{counted(len(members), 'file')} of the database belong to uid {uid}, not to"
                f" this user (uid {here}): {listed([named(str(place)) for place in members])}",
                "use queuectl as that user, or, while nothing has the database open:"
                f" sudo chown -hR {here} {quoted(family(path))}",
            )

    def _judge_modes(self, path: Path) -> Iterator[Finding]:
        if self._open:
            places = [f"{named(str(place))} ({mode:04o})" for place, mode in self._open]
            tops = [top for top in family(path) if self._has_open_in(top)]
            yield problem(
                "permissions",
                f"other users may get at {counted(len(self._open), 'file')}: {listed(places)}",
                f"chmod -R go-rwx {quoted(tops)}",
            )

    def _has_open_in(self, top: Path) -> bool:
        return any(_is_within(str(place), str(top)) for place, _ in self._open)


def _check_folder(folder: Path) -> list[Finding]:
    """Say whether others may put files beside the database, or take them away."""
    found = folder.stat()

    if not found.st_mode & 0o022:
        return []

    words = f"other users may write to {folder} ({stat.S_IMODE(found.st_mode):04o})"

    if found.st_mode & stat.S_ISVTX:
        return [
            note(
                "permissions",
                f"{words}, and so put files in the way of new ones",
                "keep a queue that matters in a folder of its own: name another file with --db"
                " or QUEUECTL_DB",
            )
        ]

    return [
        problem(
            "permissions",
            f"{words}, and so replace the database",
            f"chmod go-w {shlex.quote(str(folder))}",
        )
    ]


def _walk(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield everything of a database, without following links."""
    waiting = family(path)

    while waiting:
        member = waiting.pop()

        try:
            found = os.lstat(member)
            inside = os.listdir(member) if stat.S_ISDIR(found.st_mode) else []
        except (FileNotFoundError, PermissionError):
            # It went away meanwhile; or it cannot be read, which `check_access` says.
            continue

        waiting += [member / name for name in inside]
        yield member, found


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
