# A WebSocket client (RFC 6455): SERVER PATH [HOST]. It sends what its standard input has, in one masked message, and prints the
# messages that come until the server says goodbye; the opcodes that it saw come last.
import base64, os, socket, struct, sys
server, path, host = sys.argv[1], sys.argv[2], (sys.argv + ["docker"])[3]
if server.startswith("/"):
    s = socket.socket(socket.AF_UNIX)
    s.connect(server)
else:
    s = socket.create_connection(server.rsplit(":", 1))
key = base64.b64encode(os.urandom(16)).decode()
s.sendall(("GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n" % (path, host, key)).encode())
f = s.makefile("rb")
status, length = f.readline().decode().strip(), 0
while line := f.readline().strip():
    if line.lower().startswith(b"content-length:"):
        length = int(line.split(b":")[1])
if " 101 " not in status:
    sys.exit(status + " " + f.read(length).decode())
def send(opcode, text):
    mask = os.urandom(4)
    body = bytes(b ^ mask[i % 4] for i, b in enumerate(text))
    s.sendall(struct.pack("!BB", 0x80 | opcode, 0x80 | len(text)) + mask + body)
given = sys.stdin.buffer.read()
try:
    send(9, b"there?")
    if given:
        send(2, given)
except BrokenPipeError:
    pass # It has said all it had to say.
seen = set()
while True:
    head = f.read(2)
    if len(head) < 2:
        seen.add("cut")
        break
    opcode, length = head[0] & 15, head[1] & 127
    if length == 126:
        length, = struct.unpack("!H", f.read(2))
    body = f.read(length)
    seen.add(str(opcode))
    if opcode in (1, 2):
        sys.stdout.buffer.write(body)
        sys.stdout.flush()
    if opcode == 8:
        break
print("opcodes", " ".join(sorted(seen)))
