"""What is on a machine's disk when it has none: the files that init makes in the empty root."""

from __future__ import annotations

from pathlib import Path
from pkgutil import iter_modules

from userland.lib import System, make_directories, write_file

SRV = {
    "index.html": b"""<!DOCTYPE html>
<meta charset=utf-8>
<title>terrella</title>
<h1>It answers</h1>
<p>This page is a file of a Unix machine inside one process; a TCP/IP stack of its own carried it here.
<ul>
<li><a href="/bytes/1000000">/bytes/N</a>: N bytes, byte i is i mod 256
<li><code>curl --data-binary @FILE http://ADDRESS/echo</code>: the body comes back
<li><a href="/hello.txt">/hello.txt</a>
</ul>
""",
    "hello.txt": b"hello from inside\n",
}


PROGRAMS = {
    "/usr/bin/fetch": "fetch",
    "/usr/sbin/chargend": "chargen",
    "/usr/sbin/discardd": "discard",
    "/usr/sbin/echod": "echo",
    "/usr/sbin/httpd": "httpd",
}
"""Programs as files: path, and the module of userland whose main it is."""


ETC = {
    "passwd": b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "group": b"root:x:0:\ntty:x:5:\ndisk:x:6:\nnogroup:x:65534:\n",
    "hostname": b"terrella\n",
    "profile": b"export PATH=/usr/sbin:/usr/bin:/sbin:/bin\n",
}


def utilities() -> list[str]:
    """The names of the programs in userland/bin, which are those of /bin."""
    return sorted(module.name for module in iter_modules([str(Path(__file__).parent / "bin")]))


def furnish(sys: System) -> None:
    """The files a machine starts with: programs, and what httpd serves."""
    for directory in ("/bin", "/etc", "/root", "/sbin", "/srv", "/tmp", "/usr/bin", "/usr/sbin", "/var"):
        make_directories(sys, directory)
    for name, content in SRV.items():
        write_file(sys, f"/srv/{name}", content)
    for name, content in ETC.items():
        write_file(sys, f"/etc/{name}", content)
    for path, module in PROGRAMS.items():
        write_file(sys, path, f"#!/usr/bin/python\nfrom userland.{module} import main\n".encode(), 0o755)
    for name in utilities():
        source = f"#!/usr/bin/python\nfrom userland.bin.{name} import main\n".encode()
        write_file(sys, f"/bin/{name}", source, 0o755)
        if name == "test":
            write_file(sys, "/bin/[", source, 0o755)
