"""Atomic words: the values they give and leave, and no update lost between processes."""

from __future__ import annotations

import mmap
import os

from hypothesis import given
from hypothesis import strategies as st

from csrc import ffi, lib

WORDS = st.integers(0, 2**32 - 1)


@given(word=WORDS, old=WORDS, value=WORDS, same=st.booleans())
def test_as_plain_python_has_it(word: int, old: int, value: int, same: bool) -> None:
    old = word if same else old
    cell = ffi.new("uint32_t *", word)
    assert lib.trl_cas32(cell, old, value) == word
    assert cell[0] == (value if old == word else word)
    before = cell[0]
    assert lib.trl_fetch_add32(cell, value) == before and cell[0] == (before + value) % 2**32


def test_no_update_is_lost_between_processes() -> None:
    with mmap.mmap(-1, mmap.PAGESIZE) as shared:
        cell = ffi.cast("uint32_t *", ffi.from_buffer(shared))
        children = []
        for _ in range(4):
            pid = os.fork()
            if not pid:
                for _ in range(20_000):
                    lib.trl_fetch_add32(cell, 1)
                    seen = cell[1]
                    while (found := lib.trl_cas32(cell + 1, seen, seen + 1)) != seen:
                        seen = found
                os._exit(0)
            children.append(pid)
        assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 4
        assert (cell[0], cell[1]) == (80_000, 80_000)
        del cell
