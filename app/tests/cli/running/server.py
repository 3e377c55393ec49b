#!/usr/bin/env python3
"""A server that does as it is told, by the words of its command line and by the paths that it is asked for."""
import json
import os
import signal
import socket
import sys
import time

words = dict(word.partition("=")[::2] for word in sys.argv[1:])


def note(path):
    """Leaves a line there that says who this is."""
    with open(path, "a") as file:
        file.write(f"{os.getpid()}\n")


def daemon():
    """Starts one as daemons are started: two forks, and a session of its own. Gives its pid."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.write(writer, str(os.getpid()).encode())
            # The connection of who asked for it is among them.
            os.closerange(3, 64)
            while True:
                time.sleep(1000)
        os._exit(0)
    os.close(writer)
    pid = os.read(reader, 100).decode()
    os.wait()
    return pid


def listen():
    if "fd" in words:
        listener = socket.socket(fileno=3)
        words["blocking"] = str(os.get_blocking(3))
        # The next one is not to find it like this.
        listener.settimeout(86400)
        return listener
    host = words.get("host", "127.0.0.1")
    port = int(words.get("port") or os.environ["PORT"])
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if ":" in host:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listener.bind((host, port))
    listener.listen(100)
    return listener


def answer(path):
    """A status, a body, and what to do after they are sent."""
    _, verb, *rest = path.split("/", 2)
    what = rest[0] if rest else ""
    nothing = lambda: None
    if verb == "exit":
        return 200, "", lambda: os._exit(int(what))
    if verb == "kill":
        return 200, "", lambda: os.kill(os.getpid(), int(what))
    if verb == "env":
        return 200, os.environ.get(what, "unset"), nothing
    if verb == "args":
        return 200, json.dumps([os.fsencode(word).hex() for word in sys.argv[1:]]), nothing
    if verb == "blocking":
        return 200, words["blocking"], nothing
    if verb == "daemon":
        return 200, daemon(), nothing
    if verb == "descriptors":
        # The connection, and the directory that is read, are there too.
        return 200, " ".join(os.listdir("/proc/self/fd")), nothing
    if verb == "lines":
        print("\n".join(f"line {n}" for n in range(int(what))), flush=True)
    if verb == "stdin":
        return 200, sys.stdin.read(), nothing
    if verb == "out":
        print(what, flush=True)
    if verb == "status":
        return int(what), "", nothing
    return int(words.get("status", 200)), f"pid {os.getpid()}", nothing


def main():
    if "note" in words:
        note(words["note"])
    if "out" in words:
        sys.stdout.buffer.write(os.fsencode(words["out"]) + b"\n")
        sys.stdout.flush()
    if "err" in words:
        sys.stderr.buffer.write(os.fsencode(words["err"]) + b"\n")
        sys.stderr.flush()
    if "ignore" in words:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if "graceful" in words:
        signal.signal(signal.SIGTERM, lambda *_: (print("SIGTERM", flush=True), os._exit(0)))
        signal.signal(signal.SIGINT, lambda *_: (print("SIGINT", flush=True), os._exit(0)))
    if "once" in words:
        if os.path.exists(words["once"]):
            sys.exit(7)
        note(words["once"])
    if "wait" in words:
        open(words["wait"]).read()
    if "wait2" in words and len(open(words["note"]).readlines()) > 1:
        open(words["wait2"]).read()
    if "exit" in words:
        sys.exit(int(words["exit"]))
    if "kill" in words:
        os.kill(os.getpid(), int(words["kill"]))
    listener = listen()
    if "listens" in words:
        print(f"listening on port {listener.getsockname()[1]}", flush=True)
    if "notify" in words:
        # An abstract address (unix(7)).
        where = os.environ["NOTIFY_SOCKET"]
        assert where.startswith("@"), where
        sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sender.sendto(b"STATUS=fine\nREADY=1\n", "\0" + where[1:])
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(10)
            request = connection.recv(65536).decode(errors="replace").split()
            if len(request) < 2:
                continue
            status, body, after = answer(request[1])
            head = f"HTTP/1.1 {status} OK\r\nConnection: close\r\n"
            length = "" if status == 204 else f"Content-Length: {len(body.encode())}\r\n"
            connection.sendall(f"{head}{length}\r\n{body}".encode())
        after()


main()
