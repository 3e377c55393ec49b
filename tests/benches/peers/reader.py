"""reader.py DIR: the least that a reader in Python does: reads the record, and tries its lock."""

import fcntl
import json
import sys

with open(f"{sys.argv[1]}/server.json") as file:
    record = json.load(file)
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        print("stale")
    except BlockingIOError:
        print("live", record["port"])
