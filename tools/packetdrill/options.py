"""packetdrill's options: which there are, which take a value, and which mean something here.

They stand as `--name=value` lines at the head of a script or on the command line; as in packetdrill, what the command
line says holds against what the script says. An option that asks for something this runner has not got is unsupported:
a script with it does not run.
"""

from __future__ import annotations

from tools.packetdrill.signatures import near

HONOURED = {
    "ip_version": "ipv4, ipv6 or ipv4-mapped-ipv6",
    "local_ip": "address of the side under test",
    "remote_ip": "address of the peer; a prefix length may follow",
    "bind_port": "port that bind() gives",
    "connect_port": "port that connect() goes to",
    "mtu": "MTU of the device",
    "mss": "payload of each segment in what GRO joined",
    "tolerance_usecs": "how late or early an event may be",
    "tolerance_percent": "the same, as a part of the time since the event before",
    "tcp_ts_tick_usecs": "tick of the TS val clock; 0: do not check TS val",
    "init_scripts": "shell scripts that run before each script, comma-separated",
    "non_fatal": "packet, syscall or both, comma-separated: what is wrong with such is a warning",
    "code_command": "what runs code: python3, and nothing else",
    "code_format": "the language of code: python, and nothing else",
    "code_sockopt": "the option that code sees: TCP_INFO or SO_MEMINFO (default: both)",
}
"""With a value."""

FLAGS = {
    "tcp_ts_ecr_scaled": "TS ecr of inbound packets is in the script's ticks, not only a copy of a TS val",
    "strict_segments": "super-segments have to come exactly as the stack makes them",
    "dry_run": "parse only",
    "verbose": "say what happens, on standard error",
}
"""Without."""

WITHOUT_EFFECT = {
    "gateway_ip": True, "netmask_ip": True, "speed": True, "debug": False, "send_omit_free": False, "is_anyip": False,
    "persistent_tun_dev": False,
}  # fmt: skip
"""What packetdrill needs for its tun device and its output, and a virtual device has no use for; with a value?"""

ELSEWHERE = {
    "wire_client": False, "wire_server": False, "wire_server_ip": True, "wire_server_at": True,
    "wire_server_port": True, "wire_client_dev": True, "wire_server_dev": True, "so_filename": True, "so_flags": True,
}  # fmt: skip
"""Two machines and a wire, and other people's stacks: not here."""

_ONLY = {
    "code_command": ("python", "python2", "python3", "/usr/bin/python", "/usr/bin/python3"),
    "code_format": ("python",),
    "code_sockopt": ("", "TCP_INFO", "SO_MEMINFO"),
    "ip_version": ("ipv4", "ipv6", "ipv4-mapped-ipv6"),
}
"""Options of which only these values mean something."""

_BOUNDS = {
    "mtu": (68, 65535), "mss": (0, 65535), "bind_port": (1, 65535), "connect_port": (1, 65535),
    "tolerance_usecs": (0, None), "tolerance_percent": (0, None), "tcp_ts_tick_usecs": (0, None),
}  # fmt: skip
"""The least and the greatest value of numbers."""


def takes_value(name: str) -> bool | None:
    """Whether packetdrill wants a value for the option; None where it is not known."""
    if name in HONOURED or name in ("define", "D"):
        return True
    if name in FLAGS or name == "v":
        return False
    return {**WITHOUT_EFFECT, **ELSEWHERE}.get(name)


def trouble(name: str, value: str) -> str | None:
    """Why a script with this option cannot run here, or None."""
    if name in ELSEWHERE:
        return f"option --{name}: there is one machine, and the stack is this one"
    if takes_value(name) is None:
        return f"option --{name}{near(name, {**HONOURED, **FLAGS, **WITHOUT_EFFECT, **ELSEWHERE, 'define': ''})}"
    if name in _ONLY and value not in _ONLY[name]:
        return f"option --{name}={value}: it is {' or '.join(filter(None, _ONLY[name]))}"
    if name in _BOUNDS and (number := _number(value)) is not None:
        least, most = _BOUNDS[name]
        if number < least or (most is not None and number > most):
            return f"option --{name}={value}: it is {least} {'or more' if most is None else f'to {most}'}"
    if name == "non_fatal" and not set(value.replace(",", " ").split()) <= {"packet", "syscall"}:
        return f"option --non_fatal={value}: it is packet, syscall or packet,syscall"
    return None


def _number(value: str) -> float | None:
    """What a value says, where it is a number: who reads the option says what else is wrong with it."""
    try:
        return float(int(value, 0))
    except ValueError:
        pass
    try:
        return float(value)
    except ValueError:
        return None
