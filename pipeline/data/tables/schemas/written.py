"""A schema in a file, which a person may have corrected."""

from pipeline import files, places
from pipeline.data.tables.schema import Schema
from pipeline.errors import Unusable
from pipeline.provenance import redacted
from pipeline.recipes.values import Refused


def schema_at(location: str, field: str) -> Schema:
    """Read the file of a schema.

    Args:
        field: of a recipe, or flag, that names it.

    Raises:
        Unusable: it is no such file; names the line, the field and the rule.
    """
    system, path = files.at(places.source(field, location))
    try:
        return Schema.from_yaml(system.cat_file(path).decode())
    except FileNotFoundError:
        raise Refused(field, "the file that python -m pipeline schema has written", location) from None
    except UnicodeDecodeError:
        raise Unusable(f"{field}: {redacted(location)} is not UTF-8") from None
    except Unusable as error:
        raise Unusable(f"{field}: {redacted(location)}: {error}") from error
