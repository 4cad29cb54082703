"""The client of sqluice: a PEP 249 module over Arrow Flight SQL.

Takes: the address of a gateway (or a mesh folder) and who asks. Gives: connections whose cursors
hand out rows, Arrow tables and data frames. Never loads anything of the server's.

    import sqluice

    with sqluice.connect("grpc://127.0.0.1:7051", user="nora", password="...") as connection:
        print(connection.execute("SELECT count(*) FROM operations.departures").fetchall())
"""

from sqluice.connection import Connection, connect
from sqluice.cursor import Cursor
from sqluice.errors import (
    DatabaseError,
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    Warning,
)
from sqluice.transport import ClientCredentials
from sqluice.types import (
    BINARY,
    DATETIME,
    NUMBER,
    ROWID,
    STRING,
    Binary,
    Date,
    DateFromTicks,
    Time,
    TimeFromTicks,
    Timestamp,
    TimestampFromTicks,
)

apilevel = "2.0"
# Threads may share the module. ADBC promises nothing of a connection that two of them use at once,
# except that a statement can be cancelled from any.
threadsafety = 1
paramstyle = "qmark"
__version__ = "0.1.0"

__all__ = [
    "BINARY",
    "DATETIME",
    "NUMBER",
    "ROWID",
    "STRING",
    "Binary",
    "ClientCredentials",
    "Connection",
    "Cursor",
    "DataError",
    "DatabaseError",
    "Date",
    "DateFromTicks",
    "Error",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "NotSupportedError",
    "OperationalError",
    "ProgrammingError",
    "Time",
    "TimeFromTicks",
    "Timestamp",
    "TimestampFromTicks",
    "Warning",
    "apilevel",
    "connect",
    "paramstyle",
    "threadsafety",
]
