"""seq [-w] [-s SEP] [-f FORMAT] [FIRST [STEP]] LAST: numbers."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from userland.command import Options, UsageError, mistake, parse
from userland.lib import System, write_all


def main(sys: System, argv: list[str]) -> int:
    words, options_end = argv[1:], 0
    while options_end < len(words) and words[options_end][:1] == "-" and not words[options_end][1:2].isdigit():
        options_end += 2 if words[options_end] in ("-s", "-f") else 1
    try:
        options, _ = parse(words[:options_end], "ws:f:", {"equal-width": "w", "separator": "s:", "format": "f:"})
        return work(sys, options, words[options_end:])
    except UsageError as why:
        mistake(sys, "seq", why)
        return 1


def _number(word: str) -> Decimal:
    try:
        return Decimal(word)
    except InvalidOperation:
        raise UsageError(f"invalid floating point argument: '{word}'") from None


def work(sys: System, options: Options, operands: list[str]) -> int:
    if not 1 <= len(operands) <= 3:
        raise UsageError("missing operand" if not operands else f"extra operand '{operands[-1]}'")
    numbers = [_number(word) for word in operands]
    first = numbers[0] if len(numbers) > 1 else Decimal(1)
    step = numbers[1] if len(numbers) == 3 else Decimal(1)
    last = numbers[-1]
    if not step:
        raise UsageError(f"invalid Zero increment value: '{operands[1]}'")
    places = max(max(-int(number.as_tuple().exponent), 0) for number in (first, step))
    out = []
    count = int((last - first) / step) + 1 if (last - first) / step >= 0 else 0
    for at in range(count):
        value = first + step * at
        out.append(options["f"] % float(value) if "f" in options else f"{value:.{places}f}")
    if "w" in options:
        wide = max((len(text) for text in out), default=0)
        out = [text.rjust(wide, "0") if text[0] != "-" else "-" + text[1:].rjust(wide - 1, "0") for text in out]
    if out:
        write_all(sys, 1, (options.get("s", "\n").join(out) + "\n").encode())
    return 0
