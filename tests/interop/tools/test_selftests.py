"""The Linux selftests' own packetdrill scripts, as their runner calls packetdrill: over IPv4 and over IPv6.

They come with a kernel's source, which Debian packs: `apt-get install linux-source-6.12` (150 MB), then
`pytest --run-soak -m soak tests/interop/tools/test_selftests.py`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.interop, pytest.mark.soak]

ROOT = Path(__file__).resolve().parents[3]
SOURCES = sorted(Path("/usr/src").glob("linux-source-6.*.tar.xz"))
FOLDER = "/tools/testing/selftests/net/packetdrill/"

WAYS = {
    "ipv4": "--ip_version=ipv4 --local_ip=192.168.0.1 --gateway_ip=192.168.0.1 --netmask_ip=255.255.0.0"
    " --remote_ip=192.0.2.1 -D CMSG_LEVEL_IP=SOL_IP -D CMSG_TYPE_RECVERR=IP_RECVERR",
    "ipv6": "--ip_version=ipv6 --mtu=1520 --local_ip=fd3d:0a0b:17d6::1 --gateway_ip=fd3d:0a0b:17d6:8888::1"
    " --remote_ip=fd3d:fa7b:d17d::1 -D CMSG_LEVEL_IP=SOL_IPV6 -D CMSG_TYPE_RECVERR=IPV6_RECVERR",
}

ELSEWHERE = {
    "tcp_zerocopy_fastopen-client": "Fast Open",
    "tcp_zerocopy_fastopen-server": "Fast Open",
}
"""What this stack does not have: these fail, and have to be taken from here when they no longer do."""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    if not SOURCES:
        pytest.skip("no kernel source in /usr/src: apt-get install linux-source-6.12")
    where = tmp_path_factory.mktemp("selftests")
    with tarfile.open(SOURCES[-1]) as archive:
        for member in archive:
            if FOLDER in member.name and member.isfile():
                member.name = Path(member.name).name
                archive.extract(member, where)
    return sorted(where.glob("*.pkt"))


@pytest.mark.parametrize("way", WAYS)
def test_they_pass(scripts: list[Path], way: str) -> None:
    assert len(scripts) >= 24
    words = [sys.executable, "-m", "tools.cli", "packetdrill", "--json", *WAYS[way].split(), *map(str, scripts)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, timeout=300)
    verdicts = {Path(verdict["script"]).stem: verdict for verdict in json.loads(done.stdout)}
    failed = {name: verdict for name, verdict in verdicts.items() if not verdict["passed"]}
    assert set(failed) == set(ELSEWHERE), failed
