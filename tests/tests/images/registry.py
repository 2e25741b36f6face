"""A registry of one image under many names, each of which says how it misbehaves. Tells what it was asked in a file.

registry.py PORT TOLD [CERTIFICATE]   the certificate's file has its key too; with one it speaks TLS
"""

import gzip, hashlib, http.server, io, json, os, platform, random, ssl, sys, tarfile, threading, time

PORT, TOLD = int(sys.argv[1]), sys.argv[2]


def digest(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def layer():
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        content = random.Random(7).randbytes(300_000)
        entry = tarfile.TarInfo("content")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return plain.getvalue()


PLAIN = layer()
LAYER = gzip.compress(PLAIN, mtime=0)
MACHINE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
CONFIG = json.dumps({
    "architecture": MACHINE, "os": "linux", "config": {"Cmd": ["/content"]},
    "rootfs": {"type": "layers", "diff_ids": [digest(PLAIN)]},
}).encode()
KIND = "application/vnd.docker."
MANIFEST = json.dumps({
    "schemaVersion": 2, "mediaType": KIND + "distribution.manifest.v2+json",
    "config": {"mediaType": KIND + "container.image.v1+json", "size": len(CONFIG), "digest": digest(CONFIG)},
    "layers": [{"mediaType": KIND + "image.rootfs.diff.tar.gzip", "size": len(LAYER), "digest": digest(LAYER)}],
}).encode()


def tell(words):
    with open(TOLD, "a") as file:
        file.write(words + "\n")


class Registry(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        tell("%s range=%s" % (self.path, self.headers.get("Range")))
        parts = self.path.strip("/").split("/")
        name = parts[1] if len(parts) > 1 else ""
        if "manifests" in parts:
            if name == "stall-manifest":
                time.sleep(1000)
            self.answer(MANIFEST, [("Content-Type", KIND + "distribution.manifest.v2+json")])
        elif parts[-1] == digest(CONFIG):
            self.answer(CONFIG)
        elif parts[-1] == digest(LAYER):
            getattr(self, "layer_" + name.replace("-", "_"), lambda: self.answer(LAYER))()
        else:
            self.answer(b"{}")

    def answer(self, content, headers=(), status=200, length=None):
        self.send_response(status)
        for header in headers:
            self.send_header(*header)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        self.wfile.write(content)

    def layer_stall_layer(self):
        self.answer(LAYER[:1000], length=len(LAYER))
        time.sleep(1000)

    def layer_wrong_content(self):
        self.answer(LAYER[:-1] + bytes([LAYER[-1] ^ 1]))

    def layer_too_long(self):
        self.answer(LAYER + b"more")

    def layer_elsewhere(self):
        self.answer(b"", [("Location", "/v2/good/blobs/" + digest(LAYER))], status=307)

    def layer_astray(self):
        self.answer(b"", [("Location", "file:///etc/passwd")], status=307)

    def layer_broken_once(self):
        given = self.headers.get("Range")
        if given is None:
            self.answer(LAYER[:1000], length=len(LAYER))
            self.close_connection = True
        else:
            start = int(given.removeprefix("bytes=").removesuffix("-"))
            self.answer(LAYER[start:], status=206)

    def layer_dripping(self):
        try:
            self.answer(LAYER[:1000], length=len(LAYER))
            for at in range(1000, len(LAYER)):
                self.wfile.write(LAYER[at:at + 1])
                time.sleep(0.05)
        except OSError:
            tell("the client has left")


server = http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Registry)
if len(sys.argv) > 3:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[3])
    server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
