"""hello.py HOST PORT [tls=DIR/NAME] [FIELD=VALUE...]: says a hello as docs/WIRE.md has it, and prints the answer.

Fields: from, to, protocol, cluster, channel. tls=DIR/NAME: with DIR/NAME.crt and DIR/NAME.key."""
import socket
import ssl
import struct
import sys

TABLE = []
for byte in range(256):
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    TABLE.append(byte)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF


def packed(value):
    if isinstance(value, str):
        text = value.encode()
        return bytes([0xD9, len(text)]) + text
    return b"\xcf" + struct.pack(">Q", value)


def frame(kind, header):
    preamble = b"LM" + bytes([1, kind]) + struct.pack("<II", len(header), 0)
    return preamble + struct.pack("<I", crc32c(preamble + header)) + header


def received(connection, count):
    data = b""
    while len(data) < count:
        some = connection.recv(count - len(data))
        if not some:
            raise EOFError("the connection ended after %d of %d bytes" % (len(data), count))
        data += some
    return data


def main():
    host, port = sys.argv[1:3]
    fields = dict(argument.split("=", 1) for argument in sys.argv[3:])
    protocol = int(fields.get("protocol", 1))
    connection = socket.create_connection((host, int(port)), timeout=10)
    if "tls" in fields:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.load_cert_chain(fields["tls"] + ".crt", fields["tls"] + ".key")
        connection = context.wrap_socket(connection)
    hello = [protocol, protocol, fields.get("cluster", ""), int(fields.get("from", 1)), int(fields.get("to", 2)), 4711, 42,
             int(fields.get("channel", 0)), 1, "", 0]
    connection.sendall(frame(1, bytes([0x90 + len(hello)]) + b"".join(map(packed, hello))))
    answer = received(connection, 16)
    header = received(connection, struct.unpack("<I", answer[4:8])[0])
    print({2: "welcome", 3: "refusal"}.get(answer[3], "kind %d" % answer[3]), header.decode(errors="replace"))


main()
