"""netem's words, and the errors for what is none of them."""

from __future__ import annotations

import pytest

from drivers.net.impairments import GilbertElliott, Impairments, parse_rate, parse_share, parse_time


@pytest.mark.parametrize(
    ("text", "bits"),
    [
        ("10Mbit", 10_000_000), ("1gbit", 10**9), ("64kbit", 64_000), ("1.5mbit", 1_500_000), ("9600", 9600),
        ("100bit", 100), ("1kibit", 1024), ("1MBps", 8_000_000), ("2kbps", 16_000), ("1kibps", 8192),
        (" 5 Gbit ", 5 * 10**9),
    ],
)  # fmt: skip
def test_rates(text: str, bits: int) -> None:
    assert parse_rate(text) == bits


@pytest.mark.parametrize(
    ("text", "ns"),
    [("30ms", 30_000_000), ("200us", 200_000), ("1s", 10**9), ("0.5ms", 500_000), ("17", 17_000), ("3ns", 3),
     ("2secs", 2 * 10**9), ("0", 0), (".1ms", 100_000), ("30MS", 30_000_000)],
)  # fmt: skip
def test_times(text: str, ns: int) -> None:
    assert parse_time(text) == ns


@pytest.mark.parametrize(
    ("text", "share"), [("3%", 0.03), ("0.1%", 0.001), ("100%", 1.0), ("0%", 0.0), ("5", 0.05), (0.25, 0.25), (1, 1.0)]
)
def test_shares(text: str | float, share: float) -> None:
    assert parse_share(text) == share


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("rate", "10Mbyte", r"rate '10Mbyte'.*10Mbit"),
        ("rate", "fast", r"rate 'fast'"),
        ("rate", "0", r"rate '0'.*leave it out"),
        ("rate", "0.5bit", r"rate '0.5bit'.*leave it out"),
        ("rate", "-1mbit", r"rate '-1mbit'"),
        ("delay", "30m", r"delay '30m'.*30ms"),
        ("delay", "", r"delay ''"),
        ("delay", "1e3ms", r"delay '1e3ms'"),
        ("delay", -5, r"delay -5"),
        ("delay", 0.03, r"delay 0.03.*'30ms'"),
        ("jitter", "5 minutes", r"jitter '5 minutes'"),
        ("loss", "3 percent", r"loss '3 percent'.*3%"),
        ("loss", "101%", r"loss '101%'.*100%"),
        ("loss", 3, r"loss 3 .*'3%'"),
        ("reorder", "-1%", r"reorder '-1%'"),
        ("duplicate", "nan", r"duplicate 'nan'"),
        ("corrupt", float("nan"), r"corrupt nan"),
        ("queue", "many", r"queue 'many'"),
        ("queue", -1, r"queue -1"),
        ("ecn", "x", r"ecn 'x'"),
        ("loss", "\u0663%", r"loss"),
    ],
)
def test_what_is_not_netems_word_is_quoted_back_with_the_remedy(field: str, value: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Impairments(**{field: value})  # type: ignore[arg-type]


def test_words_and_numbers_are_the_same_value() -> None:
    words = Impairments(rate="10Mbit", delay="30ms", jitter="5ms", loss="3%", queue="100")
    assert words == Impairments(rate=10_000_000, delay=30_000_000, jitter=5_000_000, loss=0.03, queue=100)
    assert words != words.but(loss="4%") and words.but(loss="4%").loss == 0.04
    assert hash(words) == hash(words.but())
    assert repr(Impairments(delay="1ms")) == "Impairments(delay=1000000)"


def test_unlimited_and_untouched() -> None:
    assert Impairments().passes and not Impairments(delay=1).passes and not Impairments(rate="1gbit").passes
    assert not Impairments(delay=1, rate=5).touches and Impairments(corrupt="1%").touches
    assert Impairments(queue=None).queue is None
    with pytest.raises(TypeError):
        Impairments().but(lag="3ms")


def test_loss_models() -> None:
    assert Impairments(loss="random 3%").loss == 0.03
    assert Impairments(loss="gemodel 1%").loss == GilbertElliott(0.01, 0.99)
    assert Impairments(loss="gemodel 1% 10% 70% 0.1%").loss == GilbertElliott(0.01, 0.1, 0.7, 0.001)
    assert Impairments(loss="gemodel 1%").touches
    for text in ("gemodel", "gemodel 1% 2% 3% 4% 5%", "gemodel x", "random", "state 1%"):
        with pytest.raises(ValueError, match="loss"):
            Impairments(loss=text)
