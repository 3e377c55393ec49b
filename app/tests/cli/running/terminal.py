"""Runs a command in a terminal and plays the person in front of it: what to do follows below."""
import fcntl
import os
import pty
import struct
import sys
import termios

pid, master = pty.fork()
if pid == 0:
    # Its size is set before it looks.
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    os.execv(sys.argv[1], sys.argv[1:])
seen = ""


def more():
    global seen
    try:
        data = os.read(master, 65536)
    except OSError:
        # Linux has no end of file there (pty(7)).
        data = b""
    text = data.decode(errors="replace")
    seen += text
    sys.stdout.write(text)
    sys.stdout.flush()
    return bool(data)


def until(words):
    while words not in seen:
        if not more():
            sys.exit(f"it ended without {words}")


def type(keys):
    os.write(master, keys.encode())


def resize(rows, columns):
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def finish():
    while more():
        pass
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def hang_up():
    os.close(master)
    os.waitpid(pid, 0)
