"""What users write for a place: a path, the URL of a storage, a database, a server.

Read once, in the process that they started: afterwards paths are absolute, whichever folder a worker or a later command is in.
Every function takes the name that the user knows the value by, such as `--to` or `$SJKO_HOME`, and raises a ValueError with that
name, the rule and the value.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints
from urllib.parse import quote, unquote, urlsplit

from pipeline.provenance import redacted

SQLITE = "sqlite:///"
SERVERS = ("http://", "https://")
DATABASES = ("postgresql", "postgresql+psycopg")
BUCKETS = ("s3", "s3a", "gs", "gcs", "oci", "oss", "tos")
STORAGES = (*BUCKETS, "abfs", "az", "adl", "hdfs", "webhdfs", "sftp", "ssh", "smb", "webdav", "hf")
"""URLs where what is written stays; fsspec knows more: memory, archives, caches, pages of the web."""
WITHOUT_HOST = ("hdfs",)
"""Their host may be left to a configuration file."""
FILE = ("file", "local")
MOST_PORTS = 65_535


def path(name: str, text: str) -> Path:
    """Read a path of this machine, made absolute, from a path or a file: URL; `~` is the home of its user."""
    text = _cleaned(name, text)
    scheme, slashes, rest = _split(text)
    if scheme in FILE:
        # What stands behind file:// is a path also without a third slash, as fsspec and people read it; a host is only localhost.
        inside = rest.removeprefix("localhost") if slashes and rest.startswith("localhost/") else rest
        text = _cleaned(name, re.sub("^//+", "/", unquote(inside)))
    elif scheme or "://" in text:
        raise ValueError(f"{name} must be a path of this machine, not {redacted(text)!r}")
    if re.match(r"/?[A-Za-z]:[\\/]|\\\\", text) or ("\\" in text and "/" not in text):
        raise ValueError(f"{name} must be a path as this machine writes it, with /, not {text!r}")
    expanded = os.path.expanduser(text)
    if text.startswith("~") and expanded == text:
        raise ValueError(f"{name} begins with the home of a user that this machine does not have: {text!r}")
    return Path(expanded).absolute()


def place(name: str, text: str) -> str:
    """Read a folder: a path, made absolute, or the URL of a storage, which stays as it is."""
    text = _cleaned(name, text)
    scheme, slashes, rest = _split(text)
    if scheme in FILE or (not scheme and "://" not in text):
        return str(require_folder(name, path(name, text)))
    shown = redacted(text)
    if not scheme:
        raise ValueError(f"{name} must be a path or a URL that fsspec knows, not {shown!r}")
    if scheme not in STORAGES:
        raise ValueError(f"{name} must be a path or a URL where what is written stays ({', '.join(STORAGES)}), not {shown!r}")
    host = rest.partition("/")[0]
    if not slashes or re.search(r"\s", host) or not (host.strip(".") or (scheme in WITHOUT_HOST and rest)):
        example = f"{scheme}://{'BUCKET' if scheme in BUCKETS else 'HOST'}/PATH"
        raise ValueError(f"{name} must be a path or like {example}, not {shown!r}; a variable that is not set leaves such a gap")
    return f"{scheme}://{rest.rstrip('/')}"


def source(name: str, text: str) -> str:
    """Read the name of a file that is only read: a path, made absolute, or a URL of a storage or of the web."""
    text = _cleaned(name, text)
    if text.lower().startswith(SERVERS):
        return server(name, text, page=True)
    return place(name, text) if _split(text)[0] not in ("", *FILE) else str(path(name, text))


def tracking(name: str, text: str) -> str:
    """Read the address of MLflow: a server, or a sqlite file."""
    text = _cleaned(name, text)
    if text.lower().startswith("sqlite:"):
        return sqlite(name, text)
    return server(name, text, others=(SQLITE,))


def database(name: str, text: str) -> str:
    """Read the address of Optuna's database: PostgreSQL, or a sqlite file."""
    from sqlalchemy.engine import make_url

    text = _cleaned(name, text)
    if text.lower().startswith("sqlite:"):
        return sqlite(name, text)
    wrong = ValueError(f"{name} must start with {SQLITE} or postgresql:// and name a database there, not {_hidden(text)!r}")
    try:
        url = make_url(text)
    except Exception:  # a port that is no number, ...
        raise wrong from None
    if url.drivername not in DATABASES or not url.database or not 0 < (url.port or 1) <= MOST_PORTS:
        raise wrong
    return text


def server(name: str, text: str, *, others: tuple[str, ...] = (), page: bool = False) -> str:
    """Read the address of a server, without what a browser adds to it.

    Args:
        others: how else the value may begin, for the message.
        page: keep all of the URL.
    """
    text = _cleaned(name, text)
    shown, schemes = _hidden(text), (*SERVERS, *others)
    if not text.lower().startswith(SERVERS):
        hint = f": write http://{shown}" if re.fullmatch(r"\w[\w.-]*(:\d+)?(/.*)?", shown) else ""
        raise ValueError(f"{name} must start with one of {', '.join(schemes)}, not {shown!r}{hint}")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:  # a port that is no number or too large, brackets without an address
        raise ValueError(f"{name} must be like http://HOST:PORT with a port from 1 to {MOST_PORTS}, not {shown!r}") from None
    if port == 0 or not re.fullmatch(r"[\w.:%-]*\w[\w.:%-]*", parts.hostname or "") or re.search(r"\s", text):
        raise ValueError(f"{name} must be like http://HOST:PORT, not {shown!r}")
    if page:
        return text
    return f"{parts.scheme}://{parts.netloc.rstrip(':')}{parts.path.rstrip('/')}"


def ray_address(name: str, text: str) -> str:
    """Read the address of a running Ray cluster."""
    text = _cleaned(name, text)
    match = re.fullmatch(r"auto|(ray://)?([\w.-]+|\[[\da-fA-F:]+\]):(\d{1,5})", text)
    if match is None or not 0 < int(match[3] or 1) <= MOST_PORTS:
        raise ValueError(f"{name} must be auto, HOST:PORT or ray://HOST:PORT, not {_hidden(text)!r}")
    return text


def sqlite(name: str, text: str) -> str:
    """Read a sqlite URL of a file, made absolute: it is percent-decoded as all URLs are."""
    rest = text[len("sqlite:") :]
    file = unquote(rest[3:])
    if not rest.startswith("///") or "?" in rest or re.match(r"$|:memory:|file:", file) or file.endswith("/"):
        raise ValueError(f"{name} must be {SQLITE}FILE, where a ? in FILE is written %3F and nothing is in memory, not {text!r}")
    database_file = path(name, file)
    if database_file.is_dir():
        raise ValueError(f"{name} must be {SQLITE}FILE, not {text!r}, which is a folder")
    return sqlite_url(database_file)


def sqlite_url(file: Path) -> str:
    """Make the sqlite URL of a file, escaped where SQLAlchemy would cut it at ? or decode %.

    With its slashes then, or MLflow would make a folder of the name that the URL has.
    """
    return SQLITE + (quote(str(file), safe="") if re.search("[%?]", str(file)) else str(file))


def sqlite_file(url: str) -> Path | None:
    """Find the file of a sqlite URL that `sqlite_url` made; None where it is another URL."""
    return Path(unquote(url.removeprefix(SQLITE))) if url.startswith(SQLITE) else None


def require_folder(name: str, folder: Path) -> Path:
    """Refuse a folder that is a file, or that would have to be made in one."""
    nearest = next(each for each in (folder, *folder.parents) if each.exists())
    if not nearest.is_dir():
        raise ValueError(f"{name} must be a folder, not {str(folder)!r}: {nearest} is a file")
    return folder


def _cleaned(name: str, text: str) -> str:
    """Take the text without blanks around it.

    Raises:
        ValueError: it is empty, or holds what a shell should have taken away.
    """
    text, shown = text.strip(), _hidden(text.strip())
    if not text:
        raise ValueError(f"{name} must not be empty")
    if re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", text):
        raise ValueError(f"{name} must be one line without control characters, in UTF-8, not {shown!r}")
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        raise ValueError(f"{name} must be without the quotes around it, not {shown}")
    if (variable := re.search(r"\$(\w+|\{[^}]*\}?|\([^)]*\)?)", shown)) and not os.path.exists(text):
        raise ValueError(f"{name} holds {variable[0]}, which nothing has replaced: {shown!r}")
    return text


def _split(text: str) -> tuple[str, str, str]:
    """Split off the scheme: it, the two slashes, the rest; none where fsspec has none of that name, as files may have a colon."""
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):(//)?(.*)", text)
    if match is None:
        return "", "", text
    from fsspec import available_protocols  # a quarter of a second that --help must not cost

    known = match[1].lower() in (*available_protocols(), *FILE)
    return (match[1].lower(), match[2] or "", match[3]) if known else ("", "", text)


def _hidden(text: str) -> str:
    """Give an address without user and password, even where it is too broken to tell them from the rest."""
    return re.sub(r"^(?![/.~])([A-Za-z][\w+.-]*:/+)?.*@", r"\1", text, flags=re.DOTALL)


# -- flags --------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reader:
    """The function that reads a flag's text; it stands in the annotation of the flag's field."""

    read: Callable[[str, str], Any]


Place = Annotated[str, Reader(place)]
Source = Annotated[str, Reader(source)]
Tracking = Annotated[str, Reader(tracking)]
Database = Annotated[str, Reader(database)]
Server = Annotated[str, Reader(server)]
RayAddress = Annotated[str, Reader(ray_address)]


def resolved(command: Any, prefix: str = "") -> Any:
    """Read the places in a command's flags: all of type Path, and those annotated with the types above.

    Raises:
        ValueError: names the flag.
    """
    hints = get_type_hints(type(command), include_extras=True)
    read: dict[str, Any] = {}
    for field in fields(command):
        value = getattr(command, field.name)
        if is_dataclass(value):
            read[field.name] = resolved(value, f"{prefix}{field.name}.")
        elif isinstance(value, str | Path) and (reader := _reader(hints[field.name])):
            read[field.name] = reader(_flag(hints[field.name], f"{prefix}{field.name.rstrip('_')}"), str(value))
    return replace(command, **read)


def _flag(hint: Any, name: str) -> str:
    """Say how messages call a field: by the name that its annotation gives, or its own; as a flag, in a group with a point."""
    called = next((str(mark.name) for mark in getattr(hint, "__metadata__", ()) if getattr(mark, "name", None)), name)
    return called.replace("-", "_") if "." in called else f"--{called.replace('_', '-')}"


def _reader(hint: Any) -> Callable[[str, str], Any] | None:
    """Find the function that reads a field of this type; None for types of other things than places."""
    if hint is Path:
        return path
    annotated = [each.read for each in getattr(hint, "__metadata__", ()) if isinstance(each, Reader)]
    return next((reader for reader in (*annotated, *map(_reader, get_args(hint))) if reader), None)


def home() -> Path:
    """Name the folder of all local state: $SJKO_HOME, or .sjko in the current folder; absolute, since workers change
    directory.
    """
    return require_folder("$SJKO_HOME", path("$SJKO_HOME", os.environ.get("SJKO_HOME", ".sjko")))
