"""Code of a script: which names it has, and that what is wrong with it is said at its own line."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.packetdrill.runner import run_text

SERVER = """// a server that sends
--tolerance_usecs=0
    0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
   +0 bind(3, ..., ...) = 0
   +0 listen(3, 1) = 0
   +0 < S 0:0(0) win 32792 <mss 1000>
   +0 > S. 0:0(0) ack 1 <mss 1460>
  +.1 < . 1:1(0) ack 1 win 257
   +0 accept(3, ..., ...) = 4
   +0 write(4, ..., 100) = 100
   +0 > P. 1:101(100) ack 1
"""
END = SERVER.count("\n")


@pytest.mark.parametrize(
    ("code", "kind", "line", "message", "expected", "actual"),
    [
        ("%{\nx = 1\nassert x == tcpi_unacked + x, x\n}%\n", "mismatch", 3, "assertion failed: 1",
         "assert x == tcpi_unacked + x, x", "tcpi_unacked = 1"),
        ("%{ assert tcpi_snd_cwnd == 9 }%\n", "mismatch", 1, "assertion failed: assert tcpi_snd_cwnd == 9",
         "assert tcpi_snd_cwnd == 9", "tcpi_snd_cwnd = 10"),
        ("%{ assert SK_MEMINFO_WMEM_QUEUED == 0 }%\n", "mismatch", 1, "assertion failed", "",
         "SK_MEMINFO_WMEM_QUEUED ="),
        ("%{\nx = 1\n\nx = = 2 }%\n", "syntax", 4, "code: SyntaxError: invalid syntax", "x = = 2", ""),
        ("%{\nx = 1\ny = x / 0 }%\n", "syntax", 3, "code: ZeroDivisionError", "y = x / 0", ""),
        ("%{\ndef check():\n  assert tcpi_rtt == 1\n}%\n   +0 %{ check() }%\n", "mismatch", 3, "assertion failed",
         "", ""),
        ("%{ assert tcpi_rttt == 1 }%\n", "unsupported", 1, "did you mean tcpi_rtt?", "", ""),
    ],
)  # fmt: skip
def test_what_is_wrong_is_at_its_own_line(
    code: str, kind: str, line: int, message: str, expected: str, actual: str
) -> None:
    error = run_text(SERVER + "   +0 " + code).error
    assert error is not None
    assert (error.kind, error.line) == (kind, END + line)
    assert message in error.message and expected in error.expected
    assert error.actual.startswith(actual) if actual else error.actual == ""


def test_what_is_right_passes() -> None:
    lines = "   +0 %{ sys.stderr.write(''); assert traceback and tcpi_unacked == 1 }%\n"
    lines += "   +.01 < . 1:1(0) ack 101 win 257\n"
    assert run_text(SERVER + lines + "   +0 %{ assert tcpi_unacked == 0 and tcpi_state == TCP_ESTABLISHED }%\n").passed


@given(st.lists(st.integers(0, 9), min_size=1, max_size=5), st.integers(0, 4))
@settings(max_examples=15, deadline=None)
def test_what_a_block_defines_lasts_to_the_end(values: list[int], wrong: int) -> None:
    """Each block adds to a list of the first one; the last one sees it all, and no other."""
    blocks = ["%{ seen = [] }%", *(f"%{{ seen.append({value}) }}%" for value in values)]
    text = SERVER + "".join(f"   +0 {block}\n" for block in blocks)
    assert run_text(f"{text}   +0 %{{ assert seen == {values} }}%\n").passed
    other = [*values[:wrong], 10, *values[wrong + 1 :]]
    assert not run_text(f"{text}   +0 %{{ assert seen == {other} }}%\n").passed
    assert not run_text(SERVER + "   +0 %{ seen }%\n").passed, "another script has names of its own"


def test_before_there_is_a_socket_code_has_no_fields() -> None:
    rest = SERVER.partition("    0 socket")[2]
    assert run_text("0 %{ assert sys }%\n+0 socket" + rest).passed
    error = run_text("0 %{ assert tcpi_rtt }%\n+0 socket" + rest).error
    assert error is not None and (error.kind, error.line) == ("unsupported", 1)
