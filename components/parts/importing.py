"""How the code of own parts is imported: as its files are now, and several versions of one module beside each other."""

import builtins
import hashlib
import importlib
import struct
import sys
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from components.parts.code import Code

_now: weakref.WeakKeyDictionary[ModuleType, ModuleType] = weakref.WeakKeyDictionary()
"""What the modules of `Edited` are now."""
_lock = threading.RLock()


class Exact(SourceFileLoader):
    """A loader that compiles a source file as it is, and remembers which it was.

    Python's own cache of compiled code takes a file for unchanged that was written in the same second with the same length.

    Args:
        imports: takes the place of `__import__` in the module; None: Python's own.

    Attributes:
        sha256: of the file that the module was made of.
    """

    sha256 = b""

    def __init__(self, name: str, path: str, imports: Any = None) -> None:
        super().__init__(name, path)
        self._imports = imports

    def get_code(self, fullname: str) -> CodeType | None:
        """Compile the module's file."""
        path = self.get_filename(fullname)
        content = self.get_data(path)
        self.sha256 = hashlib.sha256(content).digest()
        code: CodeType = self.source_to_code(content, path)
        return code

    def exec_module(self, module: ModuleType) -> None:
        """Run the module, whose import statements are those of its own version also when a function of it runs later."""
        if self._imports is not None:
            vars(module)["__builtins__"] = {**vars(builtins), "__import__": self._imports}
        super().exec_module(module)


class Finder:
    """A finder that lets the top-level modules `tops` be imported from one folder and no other place."""

    def __init__(self, folder: Path, tops: frozenset[str], imports: Any = None) -> None:
        self._folder, self._tops, self._imports = str(folder), tops, imports

    def find_spec(self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Find one of the modules, or what is inside one, for Python's import."""
        if fullname.partition(".")[0] not in self._tops:
            return None
        spec = PathFinder.find_spec(fullname, [self._folder] if path is None else path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = Exact(fullname, spec.loader.path, self._imports)
        return spec


@contextmanager
def found_in(finder: Finder) -> Iterator[None]:
    """Ask a finder first for the time of the context."""
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class Edited(ModuleType):
    """A module that was imported before its file was edited, and shows what the file is now, as after `importlib.reload`.

    Unlike a reload it leaves its functions the globals that they were made with, so that flows that were trained before give what
    they gave. It stays in `sys.modules`, since Python reloads nothing else.
    """

    def __getattribute__(self, name: str) -> Any:
        try:
            return getattr(_now[self], name)
        except AttributeError:  # as a reload leaves what a file has no more
            return super().__getattribute__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(_now[self], name, value)

    def __delattr__(self, name: str) -> None:
        delattr(_now[self], name)


@contextmanager
def as_it_is_now(code: Code) -> Iterator[None]:
    """Let Python import the modules of some code as their files are now, also those that it had imported before an edit.

    Objects that were made before keep what they were made of.
    """
    assert code.folder is not None
    with _lock:
        before: dict[str, ModuleType] = {}
        if any(_has_changed(module, code.folder) for module in _taken(code.tops, remove=False).values()):
            before = _taken(code.tops, remove=True)
            importlib.invalidate_caches()
        try:
            with found_in(Finder(code.folder, code.tops)):
                yield
        except BaseException:  # as of an edit that is half done
            sys.modules.update(before)
            raise
        for name in sorted(before.keys() & sys.modules.keys()):
            _show_edited(name, before[name])


def _show_edited(name: str, before: ModuleType) -> None:
    """Put a module back that was imported before its file was edited, and let it show the one that was imported since."""
    _now[before] = sys.modules[name]
    object.__setattr__(before, "__class__", Edited)
    sys.modules[name] = before
    package, _, within = name.rpartition(".")
    if package in sys.modules:
        setattr(sys.modules[package], within, before)


def _taken(tops: frozenset[str], *, remove: bool) -> dict[str, ModuleType]:
    """Give the modules of this process that are, or are inside, those at the top; take them away if `remove` says so."""
    inside = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in tops}
    for name in inside if remove else ():
        del sys.modules[name]
    return inside


def _has_changed(module: ModuleType, folder: Path) -> bool:
    """Say whether a module was made of another file than the one that is there now.

    Of a module that was imported before anybody asked for a part, Python's cache tells when its file was written.
    """
    name = getattr(module, "__file__", None)
    if name is None:  # a package without __init__.py
        return False
    path = Path(name)
    if not path.is_relative_to(folder) or not path.is_file():
        return True
    loader = getattr(module.__spec__, "loader", None)
    if isinstance(loader, Exact):
        return loader.sha256 != hashlib.sha256(path.read_bytes()).digest()
    return path.stat().st_mtime > _began() and not _is_cached(module, path)


def _began() -> float:
    """Look up when this process began, in seconds since 1970."""
    import psutil  # here, so that names can be checked in milliseconds

    return float(psutil.Process().create_time())


def _is_cached(module: ModuleType, path: Path) -> bool:
    """Say whether Python's cache of a module was made of the file as it is: the header has the second and the size."""
    try:
        header = Path(str(module.__cached__)).read_bytes()[:16]
        flags, second, size = struct.unpack("<4xIII", header)
    except (OSError, AttributeError, struct.error):
        return False
    stat = path.stat()
    return flags == 0 and second == int(stat.st_mtime) & 0xFFFFFFFF and size == stat.st_size & 0xFFFFFFFF


class Beside:
    """Modules that are imported from a folder and live beside others of the same names, which stay what they are.

    Only who asks here sees them: `sys.modules` has them while one of them is imported. Their import statements find each other
    also later, within functions; calls of `importlib.import_module` with their names do not.
    """

    def __init__(self, folder: Path, tops: frozenset[str]) -> None:
        self._tops, self._finder = tops, Finder(folder, tops, self._import)
        self._modules: dict[str, ModuleType] = {}
        self._depth = 0

    @contextmanager
    def present(self) -> Iterator[None]:
        """Let these modules be the ones of their names for the time of the context."""
        with _lock:
            if self._depth:
                yield
                return
            hidden = _taken(self._tops, remove=True)
            sys.modules.update(self._modules)
            self._depth = 1
            try:
                with found_in(self._finder):
                    yield
            finally:
                self._depth = 0
                self._modules = _taken(self._tops, remove=True)
                sys.modules.update(hidden)

    def _import(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """Do what `__import__` does, for the code of these modules."""
        if not level and name.partition(".")[0] not in self._tops:
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        with self.present():
            return builtins.__import__(name, globals, locals, fromlist or (), level)


@cache
def beside(folder: Path, tops: frozenset[str]) -> Beside:
    """Give the modules that are imported from a folder, the same ones whenever they are asked for."""
    return Beside(folder, tops)
