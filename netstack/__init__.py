"""netstack: sans-I/O protocols. `Stack` turns (frame, now) into (frames, events, next deadline)."""

from csrc import Frame
from netstack.settings import Settings
from netstack.stack import Stack

__all__ = ["Frame", "Settings", "Stack"]
