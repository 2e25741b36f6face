"""An HTTP proxy by which every name leads to loopback. Tells what it was asked in a file.

proxy.py PORT TOLD
"""

import socket, sys, threading

PORT, TOLD = int(sys.argv[1]), sys.argv[2]


def pass_on(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def serve(client):
    head = b""
    while b"\r\n\r\n" not in head:
        more = client.recv(65536)
        if not more:
            return
        head += more
    line, _, rest = head.partition(b"\r\n")
    method, url, _ = line.decode().split(" ")
    headers = rest.partition(b"\r\n\r\n")[0].decode().lower().split("\r\n")
    shown = [header for header in headers if header.startswith("proxy-authorization")]
    with open(TOLD, "a") as file:
        file.write(" ".join([method, url] + shown) + "\n")
    place = url if method == "CONNECT" else url.split("/")[2]
    target = socket.create_connection(("127.0.0.1", int(place.rsplit(":")[-1])))
    if method == "CONNECT":
        client.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
    else:
        # One request for each connection: the next may be for another place.
        path = "/" + url.split("/", 3)[3]
        kept = [header for header in rest.split(b"\r\n") if not header.lower().startswith(b"connection:")]
        target.sendall(("%s %s HTTP/1.1\r\nConnection: close\r\n" % (method, path)).encode() + b"\r\n".join(kept))
    threading.Thread(target=pass_on, args=(target, client), daemon=True).start()
    pass_on(client, target)


listener = socket.create_server(("127.0.0.1", PORT))
while True:
    connection, _ = listener.accept()
    threading.Thread(target=serve, args=(connection,), daemon=True).start()
