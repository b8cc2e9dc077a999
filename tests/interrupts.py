"""Children that hear Ctrl-C wherever the tests run."""

from __future__ import annotations

import signal


def hear_ctrl_c() -> None:
    """``preexec_fn`` of a child that is sent SIGINT: under a shell's ``&`` it is ignored, which is inherited."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
