"""The messages of Flight SQL, and of Flight around them, in a descriptor pool of our own.

Takes: nothing. Gives: message classes by name, and the way in and out of the `Any` envelope. The
shapes are the wire's (arrow.flight.protocol.sql). Never registers anything in protobuf's default
pool, where another package's copy would clash.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

from gateway.errors import ParseError

PREFIX = "type.googleapis.com/arrow.flight.protocol.sql."
_PACKAGE = "arrow.flight.protocol.sql"
# name: field, number, type; `?` optional, `*` repeated; a backslash goes on in the next line.
_SHAPES = """
CommandGetSqlInfo: info* 1 uint32
CommandGetXdbcTypeInfo: data_type? 1 int32
CommandGetCatalogs:
CommandGetDbSchemas: catalog? 1 string, db_schema_filter_pattern? 2 string
CommandGetTables: catalog? 1 string, db_schema_filter_pattern? 2 string, \
    table_name_filter_pattern? 3 string, table_types* 4 string, include_schema 5 bool
CommandGetTableTypes:
CommandGetPrimaryKeys: catalog? 1 string, db_schema? 2 string, table 3 string
CommandGetExportedKeys: catalog? 1 string, db_schema? 2 string, table 3 string
CommandGetImportedKeys: catalog? 1 string, db_schema? 2 string, table 3 string
CommandGetCrossReference: pk_catalog? 1 string, pk_db_schema? 2 string, pk_table 3 string, \
    fk_catalog? 4 string, fk_db_schema? 5 string, fk_table 6 string
ActionCreatePreparedStatementRequest: query 1 string, transaction_id? 2 bytes
ActionCreatePreparedStatementResult: prepared_statement_handle 1 bytes, \
    dataset_schema 2 bytes, parameter_schema 3 bytes
ActionClosePreparedStatementRequest: prepared_statement_handle 1 bytes
ActionBeginTransactionRequest:
ActionBeginTransactionResult: transaction_id 1 bytes
ActionEndTransactionRequest: transaction_id 1 bytes, action 2 int32
CommandStatementQuery: query 1 string, transaction_id? 2 bytes
CommandStatementUpdate: query 1 string, transaction_id? 2 bytes
CommandStatementIngest: table 2 string
CommandPreparedStatementQuery: prepared_statement_handle 1 bytes
CommandPreparedStatementUpdate: prepared_statement_handle 1 bytes
TicketStatementQuery: statement_handle 1 bytes
DoPutUpdateResult: record_count 1 int64
DoPutPreparedStatementResult: prepared_statement_handle? 1 bytes
ActionCancelQueryRequest: info 1 bytes
ActionCancelQueryResult: result 1 int32
CancelFlightInfoRequest: info 1 bytes
StringListValue: values* 1 string
SessionOptionValue: string_value? 1 string, bool_value? 2 bool, int64_value? 3 sfixed64, \
    double_value? 4 double, string_list_value? 5 StringListValue
SessionOptionEntry: key 1 string, value 2 SessionOptionValue
SessionOptions: session_options* 1 SessionOptionEntry
SessionOptionError: value 1 int32
SessionOptionErrorEntry: key 1 string, value 2 SessionOptionError
SetSessionOptionsResult: errors* 1 SessionOptionErrorEntry
CloseSessionResult: status 1 int32
Status: code 1 int32, message 2 string, details* 3 AnyValue
AnyValue: type_url 1 string, value 2 bytes
ErrorInfoEntry: key 1 string, value 2 string
ErrorInfo: reason 1 string, domain 2 string, metadata* 3 ErrorInfoEntry
FlightData: flight_descriptor 1 bytes, data_header 2 bytes, data_body 1000 bytes
FlightAction: type 1 string, body 2 bytes
FlightActionType: type 1 string, description 2 string
FlightResult: body 1 bytes
FlightPutResult: app_metadata 1 bytes
FlightPollInfo: info 1 bytes, flight_descriptor 2 bytes, progress? 3 double
"""
_FIELD = descriptor_pb2.FieldDescriptorProto
_TYPES = {
    "string": _FIELD.TYPE_STRING,
    "bytes": _FIELD.TYPE_BYTES,
    "bool": _FIELD.TYPE_BOOL,
    "int32": _FIELD.TYPE_INT32,
    "int64": _FIELD.TYPE_INT64,
    "uint32": _FIELD.TYPE_UINT32,
    "sfixed64": _FIELD.TYPE_SFIXED64,
    "double": _FIELD.TYPE_DOUBLE,
}


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="sqluice/flight_sql.proto", package=_PACKAGE, syntax="proto3"
    )
    for line in _SHAPES.strip().splitlines():
        name, _, fields = line.partition(":")
        message = file.message_type.add(name=name.strip())
        for text in filter(None, (one.strip() for one in fields.split(","))):
            _add_field(message, *text.split())
    return file


def _add_field(message: descriptor_pb2.DescriptorProto, name: str, number: str, kind: str) -> None:
    field = message.field.add(name=name.rstrip("?*"), number=int(number))
    field.label = _FIELD.LABEL_REPEATED if name.endswith("*") else _FIELD.LABEL_OPTIONAL
    if kind in _TYPES:
        field.type = _TYPES[kind]
    else:
        field.type, field.type_name = _FIELD.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
    if name.endswith("?") and kind in _TYPES:
        field.proto3_optional = True
        field.oneof_index = len(message.oneof_decl)
        message.oneof_decl.add(name=f"_{field.name}")


_POOL = descriptor_pool.DescriptorPool()
_POOL.AddSerializedFile(_file().SerializeToString())
_CLASSES = {
    line.partition(":")[0].strip(): message_factory.GetMessageClass(
        _POOL.FindMessageTypeByName(f"{_PACKAGE}.{line.partition(':')[0].strip()}")
    )
    for line in _SHAPES.strip().splitlines()
}


def make(name: str, **fields: object) -> Any:  # noqa: ANN401 - its fields are known at run time
    """A message with its fields."""
    return _CLASSES[name](**fields)


def parse(name: str, content: bytes) -> Any:  # noqa: ANN401 - its fields are known at run time
    """A message from its bytes; ParseError where they are none."""
    made = _CLASSES[name]()
    try:
        made.ParseFromString(content)
    except DecodeError:
        raise ParseError("The bytes are no message of Flight SQL.") from None
    return made


def pack(message: Message) -> bytes:
    """The message in its `Any` envelope."""
    envelope = any_pb2.Any(
        type_url=PREFIX + message.DESCRIPTOR.name, value=message.SerializeToString()
    )
    return bytes(envelope.SerializeToString())


def unpack(content: bytes) -> tuple[str, Any]:
    """Name and message out of an `Any` envelope; ParseError for anything else."""
    envelope = any_pb2.Any()
    try:
        envelope.ParseFromString(content)
    except DecodeError:
        raise ParseError("The bytes are no command of Flight SQL.") from None
    name = envelope.type_url.removeprefix(PREFIX)
    if not envelope.type_url.startswith(PREFIX) or name not in _CLASSES:
        raise ParseError("The command is not one of Flight SQL.")
    return name, parse(name, envelope.value)


def unpack_as(name: str, content: bytes) -> Any:  # noqa: ANN401 - its fields are known at run time
    """The message of that name out of its envelope; ParseError for anything else."""
    found, message = unpack(content)
    if found != name:
        raise ParseError(f"The bytes are no {name}.")
    return message
