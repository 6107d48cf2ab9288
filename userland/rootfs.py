"""What is on a machine's disk when it has none: the files that init makes in the empty root."""

from __future__ import annotations

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


def furnish(sys: System) -> None:
    """The files a machine starts with: /tmp, /etc and what httpd serves."""
    make_directories(sys, "/tmp", 0o1777)
    make_directories(sys, "/etc")
    make_directories(sys, "/srv")
    for name, content in SRV.items():
        write_file(sys, f"/srv/{name}", content)
