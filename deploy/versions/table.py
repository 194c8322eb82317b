"""The way from and to the rows of a table as a version carries it for MLflow: the code, the coding, and what is said of both."""

import ast
import hashlib
import re
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import pyarrow as pa
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import AnyType

from deploy.flavour import sjko_rows
from pipeline.data.tables.coding import Coding
from pipeline.generator import Generator

HOUSE = ("components", "pipeline")
REQUIREMENTS = ("pyarrow", "pandas", "scikit-learn", "scipy", "pyyaml")
TYPES = (
    (pa.types.is_boolean, DataType.boolean),
    (pa.types.is_integer, DataType.long),
    (pa.types.is_float32, DataType.float),
    (pa.types.is_floating, DataType.double),
    (lambda of: pa.types.is_timestamp(of) or pa.types.is_date(of), DataType.datetime),
)
"""What MLflow calls types of Arrow; all others are text, or whatever."""
ANY = AnyType()  # type: ignore[no-untyped-call]


def modules(name: str = sjko_rows.MODULE) -> dict[str, str]:
    """Read the source of a module and of all that it imports of this project, by their names."""
    sources: dict[str, str] = {}
    waiting = [name]
    while waiting:
        if (module := waiting.pop()) not in sources:
            sources[module] = source_of(module)
            waiting += imported(sources[module])
    return dict(sorted(sources.items()))


def imported(source: str) -> list[str]:
    """List the modules of this project that a source imports."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in HOUSE:
            inner = (f"{node.module}.{alias.name}" for alias in node.names)
            names += [each if is_module(each) else str(node.module) for each in inner]
    return names


def is_module(name: str) -> bool:
    """Say whether a dotted name is that of a module, and not of something in one."""
    package, _, last = name.rpartition(".")
    spec = find_spec(package)
    return spec is not None and any((Path(place) / f"{last}.py").is_file() for place in spec.submodule_search_locations or ())


def source_of(module: str) -> str:
    """Read the source of a module."""
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).read_text("utf-8")


def package() -> tuple[str, dict[str, str]]:
    """Make a package of the modules that read and write rows, whose name has its digest: it stands in for no other one.

    Returns:
        Its name, and its files by their paths.
    """
    sources = modules()
    name = f"sjko_table_{hashlib.sha256(repr(sources).encode()).hexdigest()[:12]}"
    pattern = re.compile(rf"^(\s*)from ({'|'.join(HOUSE)})\.", re.MULTILINE)
    files = {f"{module.replace('.', '/')}.py": pattern.sub(rf"\1from {name}.\2.", source) for module, source in sources.items()}
    folders = {str(folder) for path in files for folder in PurePosixPath(path).parents}
    return name, {**{f"{folder}/__init__.py": "" for folder in sorted(folders)}, **files}


def write(folder: Path, data: Path, coding: Coding) -> str:
    """Write the code of a version into a folder, and its coding into the folder of its data; give the name of the package."""
    name, files = package()
    for path, source in files.items():
        file = folder / name / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source, "utf-8")
    (data / sjko_rows.FOLDER).mkdir()
    for path, content in coding.files().items():
        (data / sjko_rows.FOLDER / path).write_bytes(content)
    return name


def described(generator: Generator, name: str) -> Mapping[str, object]:
    """Say of the rows of a version what its own file for MLflow must know, ready for JSON."""
    return {"package": name, "starts_from_rows": generator.endpoints.starts_from_rows}


def requirements() -> list[str]:
    """Pin what rows need beside the other requirements of a version."""
    return [f"{name}=={version(name)}" for name in REQUIREMENTS]


def example(coding: Coding, n: int = 2) -> pd.DataFrame:
    """Make rows as they can be given: of coordinates at random, so that no row of anybody's is in a version."""
    rng = np.random.default_rng(0)
    given = coding.given
    conditions = None if given is None else given.condition.empty(n)
    return sjko_rows.frame_of(coding.table(rng.standard_normal((n, coding.encoding.width)).astype(np.float32), conditions))


def inputs(coding: Coding) -> Schema:
    """Name the columns of rows that are given; of any type, since MLflow refuses whole numbers where it is told of fractions."""
    given = () if coding.given is None else coding.given.columns
    return Schema([ColSpec(ANY, name, required=name not in given) for name in coding.names])


def outputs(coding: Coding) -> Schema:
    """Say which columns come out, with their types."""
    types = {column.name: column.arrow_type for column in coding.encoding.schema.kept}
    types |= {} if coding.given is None else dict(zip(coding.given.columns, coding.given.arrow_types, strict=True))
    optional = {column.name for column in coding.encoding.schema.kept if column.nullable}
    return Schema([ColSpec(type_of(types[name]), name, required=name not in optional) for name in coding.names])


def type_of(of: pa.DataType) -> DataType | AnyType:
    """Give what MLflow calls a type of Arrow."""
    plain = of.value_type if pa.types.is_dictionary(of) else of
    is_text = pa.types.is_string(plain) or pa.types.is_large_string(plain) or pa.types.is_string_view(plain)
    return next((called for suits, called in TYPES if suits(plain)), DataType.string if is_text else ANY)
