"""Settings: names, types, ranges, profiles."""

from __future__ import annotations

import errno
import re

import pytest

from netstack import Settings
from netstack.settings import PROFILES, SETTINGS


def test_attribute_and_name_are_one_value() -> None:
    settings = Settings(**{"net.ipv4.tcp_sack": 0})
    assert settings.tcp_sack == 0 == settings.get("net.ipv4.tcp_sack")
    settings.tcp_sack = 1
    assert settings.get("net/ipv4/tcp_sack") == 1
    settings.set("net.ipv4.tcp_rmem", "4096 540000 15728640")
    assert settings.tcp_rmem == (4096, 540_000, 15_728_640)
    assert settings.copy().tcp_rmem == settings.tcp_rmem


def test_every_default_is_valid_and_every_attribute_its_own() -> None:
    for spec in SETTINGS.values():
        assert spec.check(spec.default) == spec.default
    assert len({spec.attribute for spec in SETTINGS.values()}) == len(SETTINGS)
    for profile in PROFILES:
        Settings(profile=profile)
    assert Settings("rfc").tcp_rto_min_us == 1_000_000 != Settings().tcp_rto_min_us


def test_unknown_names_say_the_nearest() -> None:
    with pytest.raises(KeyError, match=re.escape("net.ipv4.tcp_sack")):
        Settings(**{"net.ipv4.tcp_sak": 1})
    with pytest.raises(KeyError):
        Settings(profile="bsd")
    with pytest.raises(AttributeError):
        Settings().tcp_sak = 1
    with pytest.raises(AttributeError):
        Settings().tcp_sak  # noqa: B018


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("net.ipv4.tcp_sack", 256), ("net.ipv4.tcp_sack", -1), ("net.ipv4.tcp_sack", "yes"),
        ("net.ipv4.tcp_sack", (1, 2)),
        ("net.ipv4.tcp_rmem", "1 2"), ("net.ipv4.tcp_rmem", 5), ("net.ipv4.ip_local_port_range", (60000, 50000)),
        ("net.ipv4.tcp_congestion_control", 3), ("net.ipv4.tcp_congestion_control", " "), ("net.ipv4.tcp_sack", None),
        ("net.ipv4.ip_default_ttl", 0),
    ],
)  # fmt: skip
def test_bad_values_are_einval_and_change_nothing(name: str, value: object) -> None:
    settings = Settings()
    before = settings.as_dict()
    with pytest.raises(OSError) as failure:
        settings.set(name, value)
    assert failure.value.errno == errno.EINVAL
    assert settings.as_dict() == before
