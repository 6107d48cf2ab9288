"""How long drives take: the model's figures, channels, the line they share, the arm."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from drivers.clock import VirtualTimeline
from drivers.disk.drive import DISCARD, DRIVES, FLUSH, HDD, READ, SSD, WRITE, Drive, DriveCosts, table


@dataclass
class Cmd:
    op: int = READ
    sector: int = 0
    count: int = 8
    flushes: int = 0


def took(costs: DriveCosts, *commands: Cmd, sectors: int = 1 << 21, gap: int = 0) -> list[tuple[int, int]]:
    """(which, when it was done) of commands given at once, or `gap` apart."""
    timeline = VirtualTimeline(1)
    drive = Drive(timeline, sectors, costs)
    done: list[tuple[int, int]] = []
    drive.on_done = lambda command, now: done.append((commands.index(command), now))  # type: ignore[arg-type]
    for i, command in enumerate(commands):
        if gap and i:
            timeline.run(i * gap)
        drive.start(command, timeline.now)
    timeline.run()
    assert not drive.held()
    return done


def test_one_command_at_a_time_takes_what_the_table_says() -> None:
    assert took(SSD, Cmd()) == [(0, SSD.read + 4 * SSD.kib)]
    assert took(SSD, Cmd(WRITE, 5, 1)) == [(0, SSD.write + SSD.kib // 2)]
    assert took(SSD, Cmd(FLUSH, 0, 0, 1)) == [(0, SSD.flush)]
    assert took(SSD, Cmd(WRITE, 0, 8, 2)) == [(0, SSD.write + 4 * SSD.kib + 2 * SSD.flush)]
    assert took(SSD, Cmd(DISCARD, 0, 4096)) == [(0, SSD.discard)]
    assert dict(table(SSD))["channels"] == 8 and set(DRIVES) == {"ssd", "hdd"} and HDD.rotational


def test_channels_work_side_by_side_and_share_one_line() -> None:
    reads = [Cmd(sector=i * 64) for i in range(16)]
    ends = [when for _, when in took(SSD, *reads)]
    assert ends[:8] == [SSD.read + 4 * SSD.kib * (i + 1) for i in range(8)]
    assert SSD.read * 2 < ends[8] < SSD.read * 2 + 10 * 4 * SSD.kib
    long = [Cmd(sector=i * 2048, count=2048) for i in range(8)]
    assert took(SSD, *long)[-1][1] == SSD.read + 8 * 1024 * SSD.kib, "not faster than the line"


def test_the_sector_after_the_last_comes_for_nothing_and_far_ones_cost() -> None:
    row = took(HDD, *[Cmd(sector=i * 8) for i in range(50)], gap=20_000_000)
    assert all(when - i * 20_000_000 == HDD.read + 4 * HDD.kib for i, when in row)

    def alone(sector: int) -> int:
        return took(HDD, Cmd(sector=sector))[0][1] - HDD.read - 4 * HDD.kib

    turn = HDD.turn
    assert 0 < alone(1000) < turn, "the same track: the platter turns"
    near, far = alone(HDD.track * 2), alone(HDD.track * 1000)
    assert HDD.settle <= near <= HDD.settle + HDD.stroke // 10 + turn
    assert HDD.settle + HDD.stroke // 2 < far <= HDD.settle + HDD.stroke + turn


def test_the_arm_goes_to_the_nearest_but_nobody_waits_for_ever() -> None:
    first, far = Cmd(sector=0), Cmd(sector=2_000_000)
    timeline = VirtualTimeline(1)
    drive = Drive(timeline, 1 << 21, HDD)
    done: list[Cmd] = []
    near = [Cmd(sector=8 + i * 8) for i in range(5000)]
    given = iter(near)

    def on_done(command: object, now: int) -> None:
        done.append(command)  # type: ignore[arg-type]
        if now < 2 * HDD.patience:
            drive.start(next(given), now)

    drive.on_done = on_done
    for command in (first, far, next(given), next(given)):
        drive.start(command, 0)
    timeline.run()
    at = done.index(far)
    assert 100 < at < len(done) - 10, "the near ones go first, until its patience is at an end"
    assert len(done) == len({id(command) for command in done})


@pytest.mark.parametrize("costs", [SSD, HDD], ids=lambda costs: costs.name)
def test_power_off_forgets_what_was_held(costs: DriveCosts) -> None:
    timeline = VirtualTimeline(1)
    drive = Drive(timeline, 1000, costs)
    done: list[object] = []
    drive.on_done = lambda command, now: done.append(command)
    commands = [Cmd(sector=i * 10) for i in range(20)]
    for command in commands:
        drive.start(command, 0)
    assert sorted(drive.held(), key=lambda command: command.sector) == commands
    assert len(drive.drop()) == 20 and drive.held() == []
    timeline.run()
    assert done == []
