"""nmap scans the machine: states and services of its ports are right, and its TCP/IP fingerprint is this kernel's."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.interop.robustness.conftest import Start, fetch

pytestmark = pytest.mark.interop


def scan(run: Callable[..., str], address: str, *options: str) -> ElementTree.Element:
    """The <host> of nmap's report. All probes take a quarter of an hour: discard answers none."""
    report = run("nmap", "-n", "-Pn", "-sS", "--max-os-tries", "1", "-oX", "-", *options, address, timeout=2400)
    host = ElementTree.fromstring(report).find("host")
    assert host is not None, report
    return host


def states(host: ElementTree.Element) -> dict[int, str]:
    found = {}
    for port in host.iter("port"):
        state = port.find("state")
        assert state is not None
        found[int(port.attrib["portid"])] = state.attrib["state"]
    return found


def service(host: ElementTree.Element, port: int) -> dict[str, str]:
    found = host.find(f".//port[@portid='{port}']/service")
    return found.attrib if found is not None else {}


def fingerprint(host: ElementTree.Element) -> dict[str, str]:
    """{test: what was answered}, without what differs from run to run, and without the window scale (our tcp_rmem)."""
    element = host.find(".//osfingerprint")
    assert element is not None
    text = re.sub(r"\s*OS:", "", element.attrib["fingerprint"]).strip()
    tests = dict(re.findall(r"(\w+)\(([^)]*)\)", text))
    del tests["SCAN"]
    for name in ("SP", "GCD", "ISR", "TS"):
        tests["SEQ"] = re.sub(rf"{name}=\w+%?", "", tests["SEQ"])
    return {name: re.sub(r"W[0-9A-F](?=%|$|S|N|T)", "W", value) for name, value in tests.items() if name != "WIN"} | {
        "WIN": tests["WIN"]
    }


def test_ports_services_and_system(up: Start, need: Callable[..., None]) -> None:
    need("nmap", root=True)
    machine = up()
    host = scan(machine.run, "10.0.0.2", "-sV", "-O", "--version-intensity", "0", "-p", "19,80,81")
    assert states(host) == {19: "open", 80: "open", 81: "closed"}
    assert service(host, 19)["name"] == "chargen"
    assert service(host, 80)["name"] == "http" and "Server:\\x20terrella" in service(host, 80)["servicefp"]
    families = [cls.attrib["osfamily"] for cls in host.iter("osclass")]
    assert "Linux" in families, families
    fetch(machine)
    assert machine.stop() == 0
    assert machine.complaints() == ""


SERVER = "import socket; s = socket.create_server(('', 80)); print(flush=True); input()"


def test_the_fingerprint_is_this_kernels(up: Start, netns: Callable[[], Any], need: Callable[..., None]) -> None:
    need("nmap", root=True)
    machine = up()
    ours = fingerprint(scan(machine.run, "10.0.0.2", "-O", "-p", "80,81"))
    linux = netns()
    machine.run("ip", "link", "add", "veth0", "type", "veth", "peer", "name", "veth1", "netns", linux.name)
    for namespace, name, address in ((machine.namespace, "veth0", "10.7.0.1/24"), (linux, "veth1", "10.7.0.2/24")):
        namespace.run("ip", "addr", "add", address, "dev", name)
        namespace.run("ip", "link", "set", name, "up")
    server = linux.popen(sys.executable, "-c", SERVER, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    server.stdout.readline()
    theirs = fingerprint(scan(machine.run, "10.7.0.2", "-O", "-p", "80,81"))
    assert ours == theirs


@pytest.mark.soak
def test_every_probe(up: Start, need: Callable[..., None]) -> None:
    """All services, every probe nmap has, all TCP ports, and a scan of UDP."""
    need("nmap", root=True)
    machine = up()
    host = scan(machine.run, "10.0.0.2", "-sV", "-O", "-p", "7,9,19,80,81", "--version-all")
    assert states(host) == {7: "open", 9: "open", 19: "open", 80: "open", 81: "closed"}
    assert service(host, 7)["name"] == "echo" and service(host, 19)["name"] == "chargen"
    everything = scan(machine.run, "10.0.0.2", "-p-")
    assert sorted(states(everything)) == [7, 9, 19, 80]
    for kind in ("-sF", "-sX", "-sN", "-sA", "-sM", "-sO"):
        machine.run("nmap", "-n", "-Pn", kind, "-F" if kind != "-sO" else "-v", "10.0.0.2", timeout=400)
    fetch(machine)
    assert machine.stop() == 0
    assert machine.complaints() == ""
