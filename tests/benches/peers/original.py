"""The class that many programs have, as it was written by hand: uvicorn on a thread, and a state file beside it.

original.py DIR: serves "hello" and writes DIR/server.json, until SIGTERM.
"""

import contextlib
import json
import os
import signal
import socket
import sys
import threading
from datetime import datetime, timezone
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse


def pick_free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class ServerRunner:
    def __init__(self, *, app, state_dir):
        self._app = app
        self._state_dir = Path(state_dir)
        self._state_file = self._state_dir / "server.json"
        self._server = None
        self._thread = None

    def start(self):
        if self._server is not None:
            raise RuntimeError("ServerRunner.start called while a server is already running")
        port = pick_free_port()
        config = uvicorn.Config(self._app, host="127.0.0.1", port=port, log_config=None, access_log=False)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        self._write_state_file(port)
        return port

    def stop(self):
        if self._server is None:
            return
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(timeout=10.0)
        with contextlib.suppress(FileNotFoundError):
            self._state_file.unlink()
        self._server = self._thread = None

    def _write_state_file(self, port):
        self._state_dir.mkdir(parents=True, exist_ok=True)
        started_at = datetime.now(timezone.utc).isoformat()
        data = json.dumps({"port": port, "pid": os.getpid(), "started_at": started_at})
        temporary = self._state_file.with_suffix(".tmp")
        with open(temporary, "w") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self._state_file)


app = FastAPI()


@app.get("/")
def hello():
    return PlainTextResponse("hello\n")


stopped = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stopped.set())
runner = ServerRunner(app=app, state_dir=sys.argv[1])
runner.start()
stopped.wait()
runner.stop()
