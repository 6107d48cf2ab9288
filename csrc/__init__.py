"""C leaves and the frame type. `from csrc import Frame, ffi, lib`; the TAP batches are in `csrc.tap` (Linux only)."""

from csrc import compiled
from csrc._leaves import ffi, lib
from csrc.frame import Frame

__all__ = ["Frame", "compiled", "ffi", "lib"]
