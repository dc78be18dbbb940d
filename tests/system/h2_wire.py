"""HTTP/2 frame by frame (RFC 9113), and field blocks octet by octet (RFC 7541): for tests that have to
say what no library would let them say.
"""

import struct

import edge_rig as rig

(DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE,
 CONTINUATION) = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY_FLAG = 0x1, 0x1, 0x4, 0x8, 0x20
(NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED,
 FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR,
 ENHANCE_YOUR_CALM) = range(12)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
WHOLE = END_STREAM | END_HEADERS


def frame(kind, flags=0, stream=0, payload=b"", length=None):
    """A frame; `length` is what it says of itself, when that is not the truth."""
    size = len(payload) if length is None else length
    return struct.pack("!I", size)[1:] + bytes((kind, flags)) + struct.pack("!I", stream) + payload


def settings(*pairs):
    """A SETTINGS frame of (identifier, value) pairs."""
    return frame(SETTINGS, 0, 0, b"".join(struct.pack("!HI", *pair) for pair in pairs))


def window_update(stream, increment):
    return frame(WINDOW_UPDATE, 0, stream, struct.pack("!I", increment))


def rst_stream(stream, code=CANCEL):
    return frame(RST_STREAM, 0, stream, struct.pack("!I", code))


def dependency(stream, weight=15, exclusive=False):
    """The five octets of a PRIORITY frame, or of HEADERS with the PRIORITY flag."""
    return struct.pack("!IB", stream | (0x80000000 if exclusive else 0), weight)


# ---- HPACK

def integer(prefix_bits, first, value):
    """RFC 7541 §5.1; `first` is what the rest of the first octet says."""
    most = (1 << prefix_bits) - 1
    if value < most:
        return bytes((first | value,))
    data, value = bytes((first | most,)), value - most
    while value >= 128:
        data, value = data + bytes((value % 128 + 128,)), value // 128
    return data + bytes((value,))


def text(value):
    """§5.2, without Huffman coding."""
    data = value if isinstance(value, bytes) else value.encode("latin-1")
    return integer(7, 0, len(data)) + data


def huffman(data):
    """§5.2: octets that are coded already."""
    return integer(7, 0x80, len(data)) + data


def block(fields):
    """Fields as literals without indexing (§6.2.2)."""
    return b"".join(b"\0" + text(name) + text(value) for name, value in fields)


def get(path="/", method="GET", more=()):
    return [(":method", method), (":scheme", "http"), (":path", path), (":authority", "shop.test"),
            *more]


def request(stream=1, fields=None, flags=WHOLE):
    """HEADERS that ask for something."""
    return frame(HEADERS, flags, stream, block(get() if fields is None else fields))


class H2:
    """A client's connection with prior knowledge."""

    def __init__(self, port, opening=PREFACE + frame(SETTINGS)):
        self.wire = rig.connect(port)
        self.wire.send(opening)
        self.last = -1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.wire.__exit__()

    def send(self, *frames):
        try:
            self.wire.send(b"".join(frames))
        except (BrokenPipeError, ConnectionResetError):
            pass  # told already

    def request(self, fields, flags=WHOLE):
        """Sends a request's head on a new stream; its number."""
        self.last += 2
        self.send(request(self.last, fields, flags))
        return self.last

    def frames(self):
        """(type, flags, stream, payload) until the connection ends."""
        try:
            while True:
                head = self.wire.take(9)
                kind, flags = head[3], head[4]
                stream = struct.unpack("!I", head[5:])[0]
                yield kind, flags, stream, self.wire.take(int.from_bytes(head[:3], "big"))
        except (EOFError, ConnectionResetError):
            return

    def response(self, stream):
        """(fields' block, body) of a stream; AssertionError when it or the connection is reset."""
        head, body = None, b""
        for kind, flags, number, payload in self.frames():
            assert kind != GOAWAY, payload
            if number != stream:
                continue
            assert kind != RST_STREAM, payload
            head = payload if kind == HEADERS and head is None else head
            body += payload if kind == DATA else b""
            if flags & END_STREAM and kind in (HEADERS, DATA):
                return head, body
        raise AssertionError("the connection ended before the response")

    def end(self):
        """("goaway" or "reset", error code) of the first of both; None: the connection just ended."""
        for kind, _, _, payload in self.frames():
            if kind == GOAWAY:
                return "goaway", struct.unpack("!I", payload[4:8])[0]
            if kind == RST_STREAM:
                return "reset", struct.unpack("!I", payload)[0]
        return None
