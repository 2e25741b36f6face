//! Attaching to containers in the ways that the docker command does not use.

use conformance::{Host, eventually};

/// A WebSocket client (RFC 6455) over the unix socket: sends what its standard input has, in one masked message, and prints the
/// messages that come until the server says goodbye; the opcodes that it saw come last.
const CLIENT: &str = r#"
import base64, os, socket, struct, sys
path = sys.argv[1]
s = socket.socket(socket.AF_UNIX)
s.connect("/var/run/docker.sock")
key = base64.b64encode(os.urandom(16)).decode()
s.sendall(("GET %s HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n" % (path, key)).encode())
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
"#;

#[test]
fn over_a_websocket() {
    let Some(host) = Host::start() else { return };
    let client = host.path().join("client.py");
    std::fs::write(&client, CLIENT).unwrap();
    let ask = |input: &str, path: &str| {
        host.sh(&format!("printf '{input}' | timeout 20 python3 {} '{path}'", client.display()))
    };
    host.docker("create -i --name echo busybox sh -c 'echo out; echo err >&2; head -n 1'").ok();
    host.docker("start echo").ok();
    let logs = || host.docker("logs echo").out;
    eventually("it has spoken", || logs().contains("out").then_some(()));
    // What was said before comes with logs=1, and the end is told: 2 is binary, 8 goodbye, 10 the answer to a ping.
    let said = ask("typed\\n", "/v1.50/containers/echo/attach/ws?logs=1&stream=1&stdin=1&stdout=1&stderr=0").ok();
    assert_eq!(said, "out\ntyped\nopcodes 10 2 8");
    host.docker("wait echo").ok();
    // Older versions have all streams, and the oldest have text.
    let all = ask("", "/v1.41/containers/echo/attach/ws?logs=1").ok();
    assert!(all.contains("out\n") && all.contains("err\n") && all.ends_with("opcodes 2 8"), "{all}");
    assert!(ask("", "/v1.27/containers/echo/attach/ws?logs=1").ok().ends_with("opcodes 1 8"));
    // The keys detach from a terminal, and the shell goes on.
    host.docker("run -dit --name shell busybox sh").ok();
    ask("echo $((40 + 2))\\nqx", "/v1.50/containers/shell/attach/ws?stream=1&stdin=1&stdout=1&detachKeys=q,x").ok();
    eventually("what was typed before", || host.docker("logs shell").out.contains("42").then_some(()));
    assert_eq!(host.docker("inspect -f '{{.State.Running}}' shell").ok(), "true");
    for (path, words) in [
        ("/v1.50/containers/nosuch/attach/ws?stream=1", "404 Not Found"),
        ("/v1.50/containers/shell/attach/ws?detachKeys=nonsense", "Invalid detach keys"),
    ] {
        ask("", path).fails_with(words);
    }
    let plain = "curl -s --unix-socket /var/run/docker.sock http://docker/v1.50/containers/shell/attach/ws";
    assert!(host.sh(plain).ok().contains("a WebSocket handshake of version 13 is expected here"));
}
