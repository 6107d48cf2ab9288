"""packetdrill's script language in virtual time.

`script` (what a script says) · `parser` (text to script) · `wire` (bytes) · `mapping` (script numbers to live ones) ·
`compare` (expected against sent) · `commands` (sysctl, ip route) · `calls` (system calls) · `host` (the machine under
test) · `runner` (the clock and the verdict).
"""
