"""Loaded by every Python process below a run's ``PYTHONPATH``: strikes one of them at one moment.

Python imports ``sitecustomize`` before any program.  A copy of this file lies in the run's folder,
beside ``fault.json``, which says in which process (``role``) and at which event the fault strikes.
Events are those that CPython audits (``sys.audit``) and that change something outside the process:
files opened for writing, renamed and removed, connections, children, locks.  They are counted, and
the n-th is struck before it happens, in the first process that gets there and in no other: the same
seed strikes the same line, whatever the machine does meanwhile.
``os.fsync`` and ``os.write`` are not audited, so they are wrapped.

``fault.json``::

    {"role": "command", "nth": 17, "action": "SIGKILL"}     a signal to itself, or
    {"role": "service", "nth": 4, "action": "ENOSPC"}       an error of the operating system
    {"role": "command", "nth": 2, "action": "torn"}         half a write to a file, then SIGKILL
    {"role": "server", "action": "answer:garbage", "nth": 3} a container that answers so three times
    {"count": true}                                          strike nothing, write down all events
"""

import errno
import json
import os
import signal
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ORDER = os.path.join(HERE, "fault.json")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHANGING = {
    *("os.rename", "os.link", "os.truncate", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"),
    *("socket.connect", "socket.bind", "subprocess.Popen", "os.fork", "fcntl.flock", "os.kill"),
}
STORING = {"open", "os.rename", "os.mkdir", "os.truncate", "os.fsync", "os.write"}
"""What a disk refuses that is full, broken or read-only."""
OF_OPEN_FILES = {"ENOSPC", "EDQUOT", "EIO"}


def role_of(words):
    """Which of a run's processes this is."""
    if "drdeploy.hosting.serving" in words or "serve" in words[-1:]:
        return "server"
    if "local" in words and "up" in words:
        return "service"
    return "command" if {"study", "endpoint"} & set(words) else "other"


class Fault:
    def __init__(self, order, role):
        self.order, self.role = order, role
        self.seen = 0
        self.is_striking = False

    def audit(self, event, arguments):
        if self.is_striking or not self.is_meant(event, arguments):
            return
        self.is_striking = True  # what follows raises events of its own
        try:
            self.meet(event, arguments)
        finally:
            self.is_striking = False

    def is_meant(self, event, arguments):
        if event == "open":
            path, _, flags = arguments
            is_file = isinstance(path, str) and not path.startswith(("/dev/", "/proc/"))
            is_meant = is_file and bool(flags & WRITING) and "__pycache__" not in path
        else:
            is_meant = event in CHANGING or event == "os.fsync"
        if event == "socket.connect" and self.role == "service":
            return False  # it tries a container's port until somebody listens: how often, varies
        action = self.order.get("action", "")
        if not action.startswith("E"):
            return is_meant
        # A file that is open may be written to, whatever the rights of its name.
        is_open = event == "os.fsync"
        return event in STORING and is_meant and not (is_open and action not in OF_OPEN_FILES)

    def meet(self, event, arguments):
        self.seen += 1
        if self.order.get("count"):
            note("events", f"{self.role} {event} {str(arguments[:1])[:120]}")
        elif self.seen == self.order["nth"] and is_first_to_strike():
            self.strike(event, arguments)

    def strike(self, event, arguments):
        action = self.order["action"]
        note("struck", f"{self.role} {os.getpid()} {action} at {event} {str(arguments)[:300]}")
        if action.startswith("SIG"):
            os.kill(os.getpid(), getattr(signal, action))
        elif action.startswith("E"):
            code = getattr(errno, action)
            path = arguments[0] if arguments and isinstance(arguments[0], str) else None
            raise OSError(code, os.strerror(code), path)


def is_first_to_strike():
    """Whether the fault is still meant, and has struck no other process of the same role."""
    if not os.path.exists(ORDER):
        return False  # it was withdrawn meanwhile
    try:
        os.close(os.open(os.path.join(HERE, "taken"), os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def note(name, line):
    file = os.open(os.path.join(HERE, name), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{line}\n".encode(errors="replace"))
    os.close(file)


def tear(fault):
    """Let the n-th write with a line in it write half, and the process die of it."""
    write = os.write

    def torn(file, content):
        if not fault.is_striking and bytes(content[-1:]) == b"\n" and b"," in bytes(content):
            fault.seen += 1
            if fault.seen == fault.order["nth"] and is_first_to_strike():
                fault.is_striking = True
                write(file, content[: len(content) // 2])
                note("struck", f"{fault.role} {os.getpid()} torn write")
                os.kill(os.getpid(), signal.SIGKILL)
        return write(file, content)

    os.write = torn


def watch(fault):
    fsync = os.fsync

    def watched(file):
        fault.audit("os.fsync", (file,))
        fsync(file)

    os.fsync = watched
    sys.addaudithook(fault.audit)


def become_worker(fault):
    fault.role = "worker"
    if fault.order["role"] == "worker":
        fault.seen = 0
        watch(fault)


def sleep_by_another_call():
    """The library that lies about the time spoils the sleep that ends at a moment, and not this."""
    import select
    import time

    time.sleep = lambda seconds: select.select([], [], [], seconds) and None


def begin():
    if "FAKETIME_TIMESTAMP_FILE" in os.environ:
        sleep_by_another_call()
    try:
        with open(ORDER) as file:
            order = json.load(file)
    except FileNotFoundError:
        return
    role = role_of(sys.orig_argv)
    fault = Fault(order, role)
    if order.get("action", "").startswith("answer:"):
        if role == "server":
            import bad_server

            bad_server.main(order["action"].partition(":")[2], order["nth"], HERE)
    elif order.get("count") and role != "other":
        watch(fault)
    elif order.get("role") == "worker" and role == "server":
        os.register_at_fork(after_in_child=lambda: become_worker(fault))
    elif order.get("role") == role:
        (tear if order["action"] == "torn" else watch)(fault)


begin()
