"""What the compiled form is trained with runs, and does not learn from wrong answers."""

from __future__ import annotations

import sys

import pytest

from tools import training


@pytest.mark.skipif(sys.platform != "linux", reason="the frames of a TAP")
@pytest.mark.parametrize("vnet", [True, False])
def test_servers_are_asked_over_a_pair_of_sockets(vnet: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("ECHOES", 20), ("CONNECTIONS", 3), ("BULK", 1 << 19)):
        monkeypatch.setattr(training, name, value)
    asked: list[int] = []
    dial = training.Host.dial

    def dialled(host: training.Host, port: int) -> object:
        asked.append(port)
        return dial(host, port)

    monkeypatch.setattr(training.Host, "dial", dialled)
    training.machine(vnet)
    assert {training.ECHO, training.DISCARD, training.CHARGEN, training.HTTP} == set(asked)
    before = len(asked)
    training.bare(vnet)
    assert len(asked) == before + 5  # one to echo, three connections, one to discard


def test_the_simulated_world_runs() -> None:
    training.world()


class Wrong:
    """A socket that answers something else."""

    def sendto(self, data: bytes, addr: None, now: int) -> int:
        return len(data)

    def served(self) -> bool:
        return True

    def recv(self, n: int, now: int) -> bytes:
        return b"y"


def test_a_wrong_answer_ends_the_training() -> None:
    host = training.Host.__new__(training.Host)
    host.now = 0
    with pytest.raises(SystemExit, match="not what was sent"):
        host.echo(Wrong(), b"x")


def test_an_answer_that_does_not_come_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "TURNS", 3)
    host = training.Host.__new__(training.Host)
    turns: list[bool] = []
    host.other = turns.append
    monkeypatch.setattr(training.Host, "turn", lambda self: False)
    with pytest.raises(SystemExit, match="has not come"):
        host.until(lambda: False)
    assert turns == [False] * 3
