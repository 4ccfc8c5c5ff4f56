"""What differs between the two databases that a catalog may be in: everything else is the same SQL for both."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, Integer, TextClause, cast, func, literal_column
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import Boolean, Text, TypeEngine

SQLITE = "sqlite"
POSTGRESQL = "postgresql"

INTEGER = BigInteger().with_variant(Integer(), SQLITE)
"""64 bits: PostgreSQL's INTEGER has 32; SQLite makes ids by itself only for a key that is called INTEGER."""


def partial(condition: TextClause) -> Mapping[str, Any]:
    """Return the arguments of an index that holds only the rows that meet a condition."""
    return {f"{name}_where": condition for name in (SQLITE, POSTGRESQL)}


def total(column: ColumnElement[int], where: ColumnElement[bool] | None = None) -> ColumnElement[int]:
    """Return the sum of a column over some rows, 0 for none; PostgreSQL would make a decimal of it."""
    summed = func.sum(column)
    return cast(func.coalesce(summed if where is None else summed.filter(where), 0), INTEGER)


class JsonElements(FunctionElement[Any]):
    """The elements of a list in a text column, one in each row: use `table_valued("value")`."""

    inherit_cache: bool | None = True
    name = "json_elements"


class JsonText(FunctionElement[str]):
    """The text at a place of a list that is an element of `JsonElements`."""

    inherit_cache: bool | None = True
    name = "json_text"
    type: TypeEngine[str] = Text()


class Least(FunctionElement[int]):
    """The least of several numbers of a row."""

    inherit_cache: bool | None = True
    name = "least"
    type: TypeEngine[int] = INTEGER


class Contains(FunctionElement[bool]):
    """Whether a text has another one in it, whatever signs either has."""

    inherit_cache: bool | None = True
    name = "contains"
    type: TypeEngine[bool] = Boolean()


_SPELT: Mapping[type[FunctionElement[Any]], Mapping[str, str]] = {
    JsonElements: {SQLITE: "json_each({0})", POSTGRESQL: "jsonb_array_elements(CAST({0} AS JSONB))"},
    JsonText: {SQLITE: "json_extract({0}, '$[{1}]')", POSTGRESQL: "({0} ->> {1})"},
    Least: {SQLITE: "min({0}, {1})", POSTGRESQL: "LEAST({0}, {1})"},
    Contains: {SQLITE: "(instr({0}, {1}) > 0)", POSTGRESQL: "(strpos({0}, {1}) > 0)"},
}


@compiles(JsonElements)
@compiles(JsonText)
@compiles(Least)
@compiles(Contains)
def _spell(element: FunctionElement[Any], compiler: SQLCompiler, **given: Any) -> str:  # noqa: ANN401 - SQLAlchemy's own
    return _SPELT[type(element)][compiler.dialect.name].format(
        *(compiler.process(each, **given) for each in element.clauses)
    )


def json_text(element: ColumnElement[Any], place: int) -> ColumnElement[str]:
    """Return the text at a place of a list of `JsonElements`."""
    return JsonText(element, literal_column(str(place)))


def json_number(dialect: str, column: str, key: str) -> str:
    """Return the SQL of the number under a key of an object in a text column, 0 if there is none."""
    if dialect == POSTGRESQL:
        return f"COALESCE(CAST(CAST({column} AS JSONB) ->> '{key}' AS BIGINT), 0)"
    return f"COALESCE(json_extract({column}, '$.{key}'), 0)"


def trigger(dialect: str, *, name: str, table: str, event: str, when: str, body: str) -> tuple[str, ...]:
    """Return the statements that make a trigger, run after a change of each row.

    Args:
        dialect: Name of the dialect.
        name: Of the trigger.
        table: Whose rows.
        event: INSERT, DELETE, or UPDATE OF columns: statements that set one of them, to whatever.
        when: A condition on OLD and NEW.
        body: Statements, each with its semicolon.
    """
    after = f"CREATE TRIGGER {name} AFTER {event} ON {table}"
    if dialect == SQLITE:
        return (f"{after} WHEN {when} BEGIN {body} END",)
    block = f"BEGIN IF {when} THEN {body} END IF; RETURN NULL; END"
    return (
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $body$ {block} $body$",
        f"{after} FOR EACH ROW EXECUTE FUNCTION {name}()",
    )


def drop_triggers(conn: Connection) -> None:
    """Remove every trigger of the catalog."""
    if conn.dialect.name == SQLITE:
        names = conn.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'").scalars().all()
        for name in names:
            conn.exec_driver_sql(f"DROP TRIGGER {name}")
        return
    functions = conn.exec_driver_sql(
        "SELECT tgname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid "
        "WHERE NOT tgisinternal AND relnamespace = current_schema()::regnamespace"
    ).scalars()
    for name in functions.all():
        # The trigger goes with its function, which has its name.
        conn.exec_driver_sql(f"DROP FUNCTION {name}() CASCADE")
