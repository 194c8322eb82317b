"""Files at any fsspec URL: a disk, S3, Google's storage, memory."""

import atexit
import contextlib
import hashlib
import json
import math
import os
import shutil
import tempfile
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from filelock import FileLock

from components.parts.loading import describe_error
from pipeline.errors import Corrupt, Unusable
from pipeline.provenance import redacted

if TYPE_CHECKING:
    import fsspec  # a quarter of a second that --help must not cost, and what measures an accelerator goes without it

NUM_THREADS = 4
Item = TypeVar("Item")
Result = TypeVar("Result")


def at(url: str) -> "tuple[fsspec.AbstractFileSystem, str]":
    """Open the file system of a URL, and give the path in it.

    Raises:
        Unusable: there is no such file system, or it cannot be reached.
    """
    import fsspec

    if "://" not in url:  # a path, in which fsspec would take :: for a chain of file systems
        return fsspec.filesystem("file"), url
    try:
        files, path = fsspec.core.url_to_fs(url)
    except Exception as error:  # each file system has its own: a missing package, bad credentials, ...
        raise Unusable(f"{redacted(url)} cannot be opened: {describe_error(error)}") from error
    return files, str(path)


def verified(path: Path, sha256: str) -> bytes:
    """Read a file whose hash is known, once: who parses the result parses the bytes that were verified.

    Raises:
        Corrupt: it is missing, or another one.
    """
    if not path.is_file():
        raise Corrupt(str(path), "it is missing; install the project again")
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != sha256:
        raise Corrupt(str(path), f"its sha256 is {digest}, not {sha256}")
    return content


def listed(files: "fsspec.AbstractFileSystem", folder: str) -> list[str]:
    """List the paths in a folder in the order of their names, whatever characters it is named by; none where there is no
    folder.

    Raises:
        Unusable: it cannot be listed.
    """
    try:
        files.invalidate_cache(folder)
        return sorted(files.ls(folder, detail=False))
    except FileNotFoundError:
        return []
    except Exception as error:  # each file system has its own
        raise Unusable(f"{redacted(folder)} cannot be listed: {describe_error(error)}") from error


def put(files: "fsspec.AbstractFileSystem", path: str, content: bytes | Path) -> None:
    """Write a file whole or not at all: object stores do so by themselves, a disk by renaming.

    Args:
        content: what is written; or a file of this machine that is copied without being read into memory.
    """
    with _whole(files, path) as target:
        if isinstance(content, Path):
            files.put_file(str(content), target)
        else:
            files.pipe_file(target, content)


@contextlib.contextmanager
def _whole(files: "fsspec.AbstractFileSystem", path: str) -> Iterator[str]:
    """Give the path that a file is written to, and move it to its place when the context ends without an error."""
    if not is_local(files):
        yield path
        return
    files.makedirs(os.path.dirname(path), exist_ok=True)
    partial = f"{path}.{uuid.uuid4().hex}.partial"  # its own: another process may write the same file
    try:
        yield partial
        os.replace(partial, path)
    except BaseException as error:
        if isinstance(error, OSError) and error.filename in (None, partial):  # a full disk has no name
            error.filename = path
        with contextlib.suppress(OSError):
            os.unlink(partial)
        raise


def is_local(files: "fsspec.AbstractFileSystem") -> bool:
    """Say whether a file system is this machine's disk."""
    return "file" in (files.protocol if isinstance(files.protocol, tuple) else (files.protocol,))


def write_json(path: Path | None, value: object) -> None:
    """Write a value as JSON into a file of this machine, if there is one; numbers that JSON lacks are "inf", "-inf" and "nan"."""
    if path is not None:
        write_text(path, json.dumps(_in_json(value), indent=1, allow_nan=False))


def _in_json(value: object) -> object:
    if isinstance(value, dict):
        return {key: _in_json(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_in_json(each) for each in value]
    return str(float(value)) if isinstance(value, float) and not math.isfinite(value) else value


def write_text(path: Path, text: str) -> None:
    """Write text in UTF-8 into a file of this machine, whole or not at all, as `write_bytes` does."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file of this machine whole or not at all; through a link, and straight into what is no file, such as
    /dev/stdout.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        try:
            path.write_bytes(content)
        except OSError as error:
            error.filename = str(path)
            raise
        return
    import fsspec

    put(fsspec.filesystem("file"), str(path.absolute()), content)


def lock_at(path: str | Path) -> FileLock:
    """Make the lock of a file on this machine, in a folder that is made where there is none; `with` holds it.

    Raises:
        Unusable: no file can be made there, where FileLock would try for ever.
    """
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with open(path, "ab"):
            pass
    except OSError as error:
        raise Unusable(f"{Path(path).parent} cannot be written to: {error.strerror}") from error
    return FileLock(path)


def require_writable(url: str) -> None:
    """Refuse a folder of this machine where no file can be made; other storages say so when they are written to.

    Raises:
        Unusable: says why.
    """
    files, folder = at(url)
    if is_local(files):
        try:
            os.makedirs(folder, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise Unusable(f"{folder} cannot be written to: {error.strerror}") from error


@cache
def folder_of_process(prefix: str) -> Path:
    """Make the temporary folder of this process whose name begins so; it goes with the process."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def in_order(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Do work on items in threads, a few at a time, and yield the results in the items' order; no more are held than that."""
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > NUM_THREADS:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
