"""End a command that was interrupted, and tell the user how to continue."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from drdeploy.cli.console import err, print_line
from drdeploy.errors import INTERRUPTED

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def exit_cleanly_on_interruption(advice: str) -> Iterator[None]:
    """End the command on Ctrl-C or SIGTERM, after printing how to continue.

    Args:
        advice: The advice on how to continue, which is printed last.
    """
    # A scheduler, or a system that shuts down, sends SIGTERM. Then, too, the user must learn how to
    # continue and what is left.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt as interruption:
        for note in getattr(interruption, "__notes__", ()):
            print_line(note, to=err)
        print_line(f"interrupted; {advice}", to=err)
        raise typer.Exit(INTERRUPTED) from None
