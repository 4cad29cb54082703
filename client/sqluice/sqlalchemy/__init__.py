"""The dialect of SQLAlchemy, from 1.4.54 on.

    create_engine("sqluice://nora:password@gateway.example:7051/operations?purpose=planning")

Found by the entry point `sqlalchemy.dialects`; SQLAlchemy is no dependency of the client.
"""

from sqluice.sqlalchemy.dialect import SqluiceDialect

__all__ = ["SqluiceDialect"]
