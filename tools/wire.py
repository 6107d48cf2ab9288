"""`terrella wire`: a cable in real time, with netem's impairments, behind a TAP.

`terrella wire TAP_A TAP_B`: Linux talks to Linux, or to anything else that holds a TAP, across a link as bad as one
wants, on kernels without netem too. TAPs that do not exist are made, and vanish when the wire ends; persistent ones
stay. Either end may be moved into a network namespace while the wire runs (`ip link set TAP_B netns NAME`), or be made
in one at once (`--netns-b NAME`).

`terrella wire TAP_A --machine CIDR`: Linux talks to us. The far end is a machine in this process, whose TCP runs
where the wire hands it the frames, as Linux's does within the write to TAP_B.

What happens to the n-th frame of a direction depends on the seed and n alone.
"""

from __future__ import annotations

import argparse
import errno
import gc
import os
import signal
import sys
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from tools.errors import CommandError
from tools.output import check_writable, in_passing, saying, write_whole
from tools.up import (
    IMPAIRMENTS,
    check_words,
    cidr,
    configure_machine,
    explain_tap,
    serve,
    word_of,
)

if TYPE_CHECKING:
    from drivers.clock import RealTimeline
    from drivers.net.device import NetDevice
    from drivers.net.impair import Joined
    from drivers.net.impairments import Impairments
    from drivers.net.tap import TapDevice


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "taps", nargs="+", metavar="TAP", help="two TAPs, or one and --machine: made where there is none of that name"
    )
    machine = parser.add_argument_group("a machine at the far end")
    machine.add_argument("--machine", type=cidr, metavar="CIDR", help="its address: it is there in place of TAP_B")
    configure_machine(machine)
    for end in "ab":
        parser.add_argument(f"--netns-{end}", metavar="NAME", help=f"the network namespace of TAP_{end.upper()}")
    parser.add_argument("--mtu", type=int, metavar="BYTES", help="of TAPs that are made (default 1500)")
    parser.add_argument("--seed", type=int, metavar="N", help="of the impairments (default: another one each time)")
    parser.add_argument("--stats", metavar="FILE", help="at the end, write all counters to FILE (JSON)")
    link = parser.add_argument_group("impairments, in netem's words; the same each way")
    for name, (metavar, line) in IMPAIRMENTS.items():
        link.add_argument(f"--{name}", metavar=metavar, type=word_of(name), help=line)
    parser.add_argument(
        "--back", metavar="WORDS", type=back_words, default={},
        help="what is different from TAP_B to TAP_A, as 'loss 5%% delay 1ms'",
    )  # fmt: skip


def back_words(text: str) -> dict[str, str]:
    """Pairs of netem's words, each checked."""
    words = text.split()
    names, values = words[::2], words[1::2]
    if len(names) != len(values):
        raise argparse.ArgumentTypeError(f"{text!r}: write pairs of a word and its value, as 'loss 5% delay 1ms'")
    for name, value in zip(names, values, strict=True):
        if name not in IMPAIRMENTS:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(IMPAIRMENTS)}")
        word_of(name)(value)
    return dict(zip(names, values, strict=True))


def impairments(args: argparse.Namespace) -> tuple[Impairments, Impairments]:
    """From A to B, and back."""
    from drivers.net.impairments import Impairments

    words: dict[str, Any] = {name: getattr(args, name) for name in IMPAIRMENTS if getattr(args, name) is not None}
    check_words(words)
    check_words({**words, **args.back})
    return Impairments(**words), Impairments(**{**words, **args.back})


def run(args: argparse.Namespace) -> int:
    if not sys.platform.startswith("linux"):
        raise CommandError("a TAP needs Linux")
    if len(args.taps) != (1 if args.machine else 2):
        raise CommandError("a wire has two ends: name two TAPs, or one TAP and --machine CIDR", 2)
    if not args.machine and len(set(zip(args.taps, (args.netns_a, args.netns_b), strict=True))) < 2:
        raise CommandError(f"{args.taps[0]} to itself: a wire has two ends", 2)
    if args.mtu is not None and not 68 <= args.mtu <= 65521:
        raise CommandError(f"--mtu {args.mtu}: an MTU is 68 to 65521", 2)
    if args.machine:
        if args.netns_b:
            raise CommandError("--netns-b: a machine is in no namespace of the host", 2)
        return to_machine(args)
    if args.program or args.neighbour:
        raise CommandError("--program and --neighbour are a machine's: say --machine CIDR too", 2)
    check_writable("--stats", args.stats)
    ways = impairments(args)
    from drivers.clock import RealTimeline
    from drivers.net.impair import Joined
    from drivers.signals import heeded

    stopped: list[int] = []
    with ExitStack() as cleanup:
        seed = args.seed if args.seed is not None else int.from_bytes(os.getrandom(8), "big")
        timeline = RealTimeline(seed)
        cleanup.callback(timeline.close)

        def on_signal(number: int, frame: object) -> None:
            stopped.append(number)
            timeline.stop()

        for number in (signal.SIGINT, signal.SIGTERM):
            cleanup.callback(signal.signal, number, signal.signal(number, on_signal))
        cleanup.enter_context(heeded(timeline))
        ends = (args.netns_a, args.netns_b)
        devices = [open_tap(name, netns, args.mtu, cleanup) for name, netns in zip(args.taps, ends, strict=True)]
        # The draws belong to the seed alone: not to the names of the TAPs.
        joined = Joined(timeline, devices[0], devices[1], *ways, timeline.stream("wire"))
        cleanup.callback(joined.close)
        cleanup.callback(write_stats, args.stats, joined, ends)

        def show(now: int) -> None:
            print(summary(joined), file=sys.stderr, flush=True)

        stats_now = in_passing(partial(write_stats, args.stats, joined, ends))
        asked = {signal.SIGUSR1: show, signal.SIGUSR2: stats_now}
        for number in asked:
            before = signal.signal(number, lambda number, frame: timeline.post(asked[signal.Signals(number)]))
            cleanup.callback(signal.signal, number, before)
        gc.freeze()  # nothing made so far will go: the collector need not look at it again and again
        cleanup.callback(gc.unfreeze)
        print(f"ready {devices[0].name} {devices[1].name}", flush=True)
        try:
            while not stopped:
                timeline.run()
        except OSError as why:
            if why.errno != errno.ENODEV:
                raise
            raise CommandError(f"the wire is cut: {why.strerror}") from why
    return 130 if stopped[0] == signal.SIGINT else 0


def to_machine(args: argparse.Namespace) -> int:
    """`terrella up` with the wire before it: of the same seed, the n-th frame of a direction has the fate it has
    between two TAPs.
    """
    from drivers.net.impair import far_end

    with ExitStack() as cleanup:

        def open_device(timeline: RealTimeline) -> NetDevice:
            tap = open_tap(args.taps[0], args.netns_a, args.mtu, cleanup)
            return far_end(tap, timeline, *impairments(args), timeline.stream("wire"))

        machine = {"ip": args.machine, "disk": [], "pcap": None, "why": None, "perfetto": None}
        return serve(argparse.Namespace(**vars(args), **machine), open_device)


def open_tap(name: str, netns: str | None, mtu: int | None, cleanup: ExitStack) -> TapDevice:
    """The TAP of that name, in that namespace, made or taken over with the MTU it has."""
    from drivers.net import hostif
    from drivers.net.netns import inside
    from drivers.net.tap import TapDevice

    try:
        with inside(netns):
            there = hostif.exists(name)
            device = TapDevice(name, hostif.mtu(name) if there and mtu is None else mtu or 1500)
    except (OSError, ValueError) as why:
        raise CommandError(explain_tap(name, why, "terrella wire")) from why
    cleanup.callback(device.close)
    return device


def summary(joined: Joined) -> str:
    """A line for each way: what was offered and came out, and whatever else happened to any frame."""
    lines = []
    a, b = joined.a.name, joined.b.name
    for text, way in ((f"a_to_b {a} → {b}", joined.a_to_b), (f"b_to_a {b} → {a}", joined.b_to_a)):
        counters = way.counters
        rest = [f"{n} {name}" for name, n in counters.items() if n and not name.startswith(("offered", "delivered"))]
        said = [f"{counters['offered']} frames offered", f"{counters['delivered']} delivered", *rest]
        lines.append(f"{text}: {', '.join(said)}")
    return "\n".join(lines)


def write_stats(path: str | None, joined: Joined, ends: tuple[str | None, str | None]) -> None:
    """{"a_to_b": what happened to frames, "b_to_a": ..., and each device's counters by its name}."""
    if path is None:
        return
    from drivers.net.netns import inside

    groups = {"a_to_b": joined.a_to_b.counters, "b_to_a": joined.b_to_a.counters}
    for device, netns in ((joined.a, ends[0]), (joined.b, ends[1])):
        try:
            with inside(netns):
                counters = device.counters
        except OSError:  # the namespace has gone; what we counted ourselves is still known
            counters = device.counters
        groups[device.name if device.name not in groups else f"{device.name} (b)"] = counters
    saying(f"--stats {path}", lambda: write_whole(path, groups))
