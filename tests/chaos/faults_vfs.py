"""
A SQLite file layer that watches what is written, and fails where it is told to.

It is put in the place of SQLite's own by ctypes, in the library that this Python's
``_sqlite3`` is linked to. For processes of tests: it cannot be taken out again.
"""

import _sqlite3
import ctypes
from ctypes import POINTER, Structure, byref, c_char_p, c_int, c_int64, c_void_p
from typing import Any, Final, Protocol

OK: Final = 0
FULL: Final = 13
CANTOPEN: Final = 14
IOERR_READ: Final = 10 | (1 << 8)
IOERR_WRITE: Final = 10 | (3 << 8)
IOERR_FSYNC: Final = 10 | (4 << 8)
IOERR_TRUNCATE: Final = 10 | (6 << 8)
IOERR_DELETE: Final = 10 | (10 << 8)
IOERR_SHMMAP: Final = 10 | (21 << 8)

_NAME: Final = b"watched"

# SQLite goes on calling what was once installed.
_installed: list[object] = []

# Names are addresses: SQLite reads on behind their ends, and keeps them.
_Open = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, c_void_p)
_Delete = ctypes.CFUNCTYPE(c_int, c_void_p, c_char_p, c_int)
_Close = ctypes.CFUNCTYPE(c_int, c_void_p)
_Transfer = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_Truncate = ctypes.CFUNCTYPE(c_int, c_void_p, c_int64)
_Sync = ctypes.CFUNCTYPE(c_int, c_void_p, c_int)
_ShmMap = ctypes.CFUNCTYPE(c_int, c_void_p, c_int, c_int, c_int, c_void_p)


class _Methods(Structure):
    """sqlite3_io_methods: what can be done with an open file."""

    _fields_ = (
        ("version", c_int),
        ("close", c_void_p),
        ("read", c_void_p),
        ("write", c_void_p),
        ("truncate", c_void_p),
        ("sync", c_void_p),
        ("file_size", c_void_p),
        ("lock", c_void_p),
        ("unlock", c_void_p),
        ("check_reserved_lock", c_void_p),
        ("file_control", c_void_p),
        ("sector_size", c_void_p),
        ("device_characteristics", c_void_p),
        ("shm_map", c_void_p),
        ("shm_lock", c_void_p),
        ("shm_barrier", c_void_p),
        ("shm_unmap", c_void_p),
        ("fetch", c_void_p),
        ("unfetch", c_void_p),
    )


class _File(Structure):
    """sqlite3_file, as far as everybody knows it."""

    _fields_ = (("methods", POINTER(_Methods)),)


class _Vfs(Structure):
    """sqlite3_vfs: how files are opened and deleted."""

    _fields_ = (
        ("version", c_int),
        ("file_size", c_int),
        ("longest_path", c_int),
        ("next", c_void_p),
        ("name", c_char_p),
        ("data", c_void_p),
        ("open", c_void_p),
        ("delete", c_void_p),
        ("access", c_void_p),
        ("full_path", c_void_p),
        ("dl_open", c_void_p),
        ("dl_error", c_void_p),
        ("dl_sym", c_void_p),
        ("dl_close", c_void_p),
        ("randomness", c_void_p),
        ("sleep", c_void_p),
        ("current_time", c_void_p),
        ("last_error", c_void_p),
        ("current_time_int64", c_void_p),
        ("set_system_call", c_void_p),
        ("get_system_call", c_void_p),
        ("next_system_call", c_void_p),
    )


class Watcher(Protocol):
    """Is asked before each operation on a file, and told what was done."""

    def fault(self, operation: str, path: str) -> int:
        """Return 0, or the result code to fail with: open, delete, read, write, truncate..."""

    def opened(self, path: str) -> None:
        """A file is open; it may have been made for that."""

    def deleted(self, path: str, *, synced: bool) -> None:
        """A file was deleted, and the folder flushed or not."""

    def wrote(self, path: str, offset: int, data: bytes) -> None:
        """These bytes were handed to the system."""

    def truncated(self, path: str, size: int) -> None:
        """A file was cut."""

    def sync_begins(self, path: str) -> int:
        """Return a mark; what is told from here on is not covered."""

    def synced(self, path: str, mark: int) -> None:
        """What was told before the mark is on the disk."""


def library() -> Any:
    """
    Return the SQLite library of this Python.

    Raises:
        OSError: It keeps its functions to itself.
    """
    try:
        found = ctypes.CDLL(_sqlite3.__file__)
        found.sqlite3_vfs_find.restype = POINTER(_Vfs)
        found.sqlite3_vfs_find.argtypes = [c_char_p]
        found.sqlite3_vfs_register.restype = c_int
        found.sqlite3_vfs_register.argtypes = [POINTER(_Vfs), c_int]
    except AttributeError as error:
        msg = f"this Python's SQLite cannot be reached by ctypes ({error})"
        raise OSError(msg) from error

    return found


class WatchedFiles:
    """
    SQLite's own file layer with a watcher in front of it.

    Args:
        watcher: Asked and told.
    """

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._library = library()
        self._below: _Vfs = self._library.sqlite3_vfs_find(None).contents
        self._paths: dict[int, str] = {}
        # Ours for each kind of the layer below, by its address; kept alive here.
        self._methods: dict[int, _Methods] = {}
        self._kept: list[object] = []
        self._open_below = _Open(self._below.open)
        self._delete_below = _Delete(self._below.delete)

    def install(self) -> None:
        """Use it for every file that this process opens from now on."""
        ours = _Vfs()
        ctypes.memmove(byref(ours), byref(self._below), ctypes.sizeof(_Vfs))
        ours.name = _NAME
        ours.open = self._keep(_Open(self._open))
        ours.delete = self._keep(_Delete(self._delete))
        self._kept.append(ours)
        _installed.append(self)

        if self._library.sqlite3_vfs_register(byref(ours), 1) != OK:
            raise OSError("SQLite refused the file layer")

    def _keep(self, function: Any) -> int | None:
        self._kept.append(function)
        return ctypes.cast(function, c_void_p).value

    def _open(
        self, vfs: int, name: int | None, file: int, flags: int, flags_out: int | None
    ) -> int:
        path = "" if name is None else ctypes.string_at(name).decode()

        if code := self._watcher.fault("open", path):
            # Without methods SQLite does not close what was never opened.
            _File.from_address(file).methods = None
            return code

        result: int = self._open_below(vfs, name, file, flags, flags_out)

        if result == OK and path:
            self._paths[file] = path
            self._watcher.opened(path)
            found = _File.from_address(file)
            found.methods = ctypes.pointer(self._methods_over(found.methods))

        return result

    def _delete(self, vfs: int, name: bytes, sync_folder: int) -> int:
        if code := self._watcher.fault("delete", name.decode()):
            return code

        result: int = self._delete_below(vfs, name, sync_folder)

        if result == OK:
            self._watcher.deleted(name.decode(), synced=bool(sync_folder))

        return result

    def _methods_over(self, below: Any) -> _Methods:
        address = ctypes.addressof(below.contents)

        if address not in self._methods:
            ours = _Methods()
            ctypes.memmove(byref(ours), below, ctypes.sizeof(_Methods))
            original = below.contents
            ours.close = self._keep(_Close(self._closing(_Close(original.close))))
            ours.read = self._keep(_Transfer(self._reading(_Transfer(original.read))))
            ours.write = self._keep(_Transfer(self._writing(_Transfer(original.write))))
            ours.truncate = self._keep(_Truncate(self._cutting(_Truncate(original.truncate))))
            ours.sync = self._keep(_Sync(self._syncing(_Sync(original.sync))))

            if original.shm_map:
                ours.shm_map = self._keep(_ShmMap(self._mapping(_ShmMap(original.shm_map))))

            self._methods[address] = ours

        return self._methods[address]

    def _closing(self, below: Any) -> Any:
        def close(file: int) -> int:
            self._paths.pop(file, None)
            return int(below(file))

        return close

    def _reading(self, below: Any) -> Any:
        def read(file: int, buffer: int, amount: int, offset: int) -> int:
            code = self._watcher.fault("read", self._paths[file])
            return code or int(below(file, buffer, amount, offset))

        return read

    def _writing(self, below: Any) -> Any:
        def write(file: int, buffer: int, amount: int, offset: int) -> int:
            path = self._paths[file]

            if code := self._watcher.fault("write", path):
                # A write that fails may have come half way.
                below(file, buffer, amount // 2, offset)
                return code

            result = int(below(file, buffer, amount, offset))

            if result == OK:
                self._watcher.wrote(path, offset, ctypes.string_at(buffer, amount))

            return result

        return write

    def _cutting(self, below: Any) -> Any:
        def truncate(file: int, size: int) -> int:
            path = self._paths[file]
            result = self._watcher.fault("truncate", path) or int(below(file, size))

            if result == OK:
                self._watcher.truncated(path, size)

            return result

        return truncate

    def _syncing(self, below: Any) -> Any:
        def sync(file: int, flags: int) -> int:
            path = self._paths[file]
            mark = self._watcher.sync_begins(path)
            result = self._watcher.fault("sync", path) or int(below(file, flags))

            if result == OK:
                self._watcher.synced(path, mark)

            return result

        return sync

    def _mapping(self, below: Any) -> Any:
        def shm_map(file: int, page: int, size: int, extend: int, out: int) -> int:
            code = self._watcher.fault("map", self._paths[file]) if extend else OK
            return code or int(below(file, page, size, extend, out))

        return shm_map
