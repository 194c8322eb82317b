"""How much a packed Arrow stream unpacks to, read from what stands in front of each buffer, before any is unpacked.

A few hundred bytes of zstd can stand for gigabytes. Arrow takes the size from the same place and allocates it, so that what is
counted here is what would be allocated. See https://arrow.apache.org/docs/format/Columnar.html and the flatbuffers in its
`format/Message.fbs`: a table begins with the distance to its list of places of fields, in their order.
"""

import struct

import pyarrow as pa

FILE = b"ARROW1\0\0"
"""What an Arrow file begins with; then comes a stream."""
HEADER, BUFFERS, COMPRESSION, DATA = 2, 2, 3, 1
"""Numbers of fields: of a message its header; of a record batch its buffers and compression; of a dictionary its record batch."""
BUFFER_BYTES = 16


def stream_of(content: bytes) -> bytes:
    """Give the stream of an Arrow file, or a stream itself."""
    return content.removeprefix(FILE)


def num_unpacked(stream: bytes) -> int:
    """Count the bytes that all packed buffers of a stream say they unpack to.

    Raises:
        ValueError: it is no such stream.
        pyarrow.ArrowException: it is none.
    """
    total = 0
    for message in pa.ipc.MessageReader.open_stream(pa.BufferReader(stream)):
        if message.body is not None and message.body.size:
            try:
                total += _in_batch(message.metadata.to_pybytes(), message.body, is_dictionary=message.type == "dictionary")
            except (struct.error, IndexError) as error:
                raise ValueError("a message of the Arrow stream is damaged") from error
    return total


def _in_batch(metadata: bytes, body: pa.Buffer, *, is_dictionary: bool) -> int:
    batch = _table(metadata, _field(metadata, _table(metadata, 0), HEADER))
    if is_dictionary:
        batch = _table(metadata, _field(metadata, batch, DATA))
    buffers = _field(metadata, batch, BUFFERS)
    if not buffers or not _field(metadata, batch, COMPRESSION):
        return 0
    start = buffers + struct.unpack_from("<I", metadata, buffers)[0]
    total = 0
    for number in range(struct.unpack_from("<I", metadata, start)[0]):
        offset, length = struct.unpack_from("<qq", metadata, start + 4 + BUFFER_BYTES * number)
        if length:
            size = struct.unpack("<q", body.slice(offset, 8).to_pybytes())[0]
            total += length if size < 0 else size  # -1: this one is not packed
    return total


def _table(metadata: bytes, place: int) -> int:
    """Find the table that an offset at a place leads to."""
    return int(place + struct.unpack_from("<I", metadata, place)[0])


def _field(metadata: bytes, table: int, number: int) -> int:
    """Find the place of a table's field; 0 where it has none."""
    places = table - struct.unpack_from("<i", metadata, table)[0]
    if 4 + 2 * number >= struct.unpack_from("<H", metadata, places)[0]:
        return 0
    place = struct.unpack_from("<H", metadata, places + 4 + 2 * number)[0]
    return table + place if place else 0
