"""Settings: every knob of the stack under its sysctl name, with Linux 6.18's default.

`settings.tcp_sack` (an attribute, for hot paths) and `settings.get("net.ipv4.tcp_sack")` are the same value. A value
is an `int`, a tuple of `int` (tcp_rmem) or a `str` (tcp_congestion_control); `set` also takes the text that `sysctl
-w` would ("4096 131072 6291456"). A name that does not exist is a `KeyError` with the nearest one; a value out of
range is `OSError(EINVAL)`, as a write to /proc/sys gives.

The profile `linux` is Linux's taste. The profile `rfc` replaces what is taste by what the RFCs recommend; the names
under `terrella.` are constants that Linux compiles in, here settable so that the two profiles can differ in them.

Defaults that Linux computes from the size of memory (tcp_mem, tcp_max_orphans, ...) are fixed at those of a machine
of 4 GiB: a run must not depend on the host.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

Value = int | str | tuple[int, ...]

INT_MAX = 2**31 - 1
UINT_MAX = 2**32 - 1


class Spec:
    """One setting: its default, and the inclusive range of each of its integers (None: text)."""

    __slots__ = ("attribute", "default", "high", "low", "name")

    def __init__(self, name: str, attribute: str, default: Value, low: int, high: int) -> None:
        self.name = name
        self.attribute = attribute
        self.default = default
        self.low = low
        self.high = high

    def check(self, value: object) -> Value:
        """The value in this setting's type, or OSError(EINVAL)."""
        default = self.default
        if isinstance(default, str):
            if not isinstance(value, str) or not value.strip():
                raise self.refuse(value, "text is wanted")
            return value.strip()
        items = self._integers(value)
        if isinstance(default, int):
            if len(items) != 1:
                raise self.refuse(value, "one integer is wanted")
            return items[0]
        if len(items) != len(default):
            raise self.refuse(value, f"{len(default)} integers are wanted")
        return tuple(items)

    def _integers(self, value: object) -> list[int]:
        if isinstance(value, str):
            words = value.split()
            try:
                items = [int(word, 0) for word in words]
            except ValueError:
                raise self.refuse(value, "integers are wanted") from None
        elif isinstance(value, (bool, int)):
            items = [int(value)]
        elif isinstance(value, (tuple, list)) and all(isinstance(item, int) for item in value):
            items = [int(item) for item in value]
        else:
            raise self.refuse(value, "integers are wanted")
        for item in items:
            if not self.low <= item <= self.high:
                raise self.refuse(value, f"allowed are {self.low} to {self.high}")
        return items

    def refuse(self, value: object, why: str) -> OSError:
        return OSError(errno.EINVAL, f"{self.name} = {value!r}: {why}")


def _table() -> dict[str, Spec]:
    table: dict[str, Spec] = {}

    def add(prefix: str, attribute_prefix: str, rows: dict[str, tuple[Value, int, int]]) -> None:
        for key, (default, low, high) in rows.items():
            table[prefix + key] = Spec(prefix + key, attribute_prefix + key, default, low, high)

    flag = (0, 1)
    u8 = (0, 255)
    count = (0, INT_MAX)
    add("net.ipv4.", "", {
        "tcp_abort_on_overflow": (0, *u8),
        "tcp_adv_win_scale": (1, -31, 31),
        "tcp_app_win": (31, 0, 31),
        "tcp_autocorking": (1, *u8),
        "tcp_backlog_ack_defer": (1, *flag),
        "tcp_base_mss": (1024, *count),
        "tcp_challenge_ack_limit": (INT_MAX, *count),
        "tcp_comp_sack_delay_ns": (1_000_000, *count),
        "tcp_comp_sack_nr": (44, *u8),
        "tcp_comp_sack_slack_ns": (100_000, *count),
        "tcp_congestion_control": ("cubic", 0, 0),
        "tcp_available_congestion_control": ("reno cubic", 0, 0),
        "tcp_allowed_congestion_control": ("reno cubic", 0, 0),
        "tcp_dsack": (1, *u8),
        "tcp_early_demux": (1, *u8),
        "tcp_early_retrans": (3, 0, 4),
        "tcp_ecn": (2, 0, 5),
        "tcp_ecn_fallback": (1, *flag),
        "tcp_ecn_option": (2, 0, 3),
        "tcp_ecn_option_beacon": (3, 0, 3),
        "tcp_fack": (0, *u8),
        "tcp_fastopen": (1, *count),
        "tcp_fastopen_blackhole_timeout_sec": (0, *count),
        "tcp_fin_timeout": (60, *count),
        "tcp_frto": (2, *u8),
        "tcp_fwmark_accept": (0, *u8),
        "tcp_invalid_ratelimit": (500, *count),
        "tcp_keepalive_intvl": (75, 1, 32767),
        "tcp_keepalive_probes": (9, *u8),
        "tcp_keepalive_time": (7200, 1, 32767),
        "tcp_limit_output_bytes": (4 << 20, *count),
        "tcp_low_latency": (0, *count),
        "tcp_max_orphans": (16384, *count),
        "tcp_max_reordering": (300, *count),
        "tcp_max_syn_backlog": (1024, *count),
        "tcp_max_tw_buckets": (16384, *count),
        "tcp_mem": ((93_264, 124_352, 186_528), 0, 2**63 - 1),
        "tcp_migrate_req": (0, *flag),
        "tcp_min_rtt_wlen": (300, 0, 86400),
        "tcp_min_snd_mss": (48, 48, 65535),
        "tcp_min_tso_segs": (2, 1, 255),
        "tcp_moderate_rcvbuf": (1, *u8),
        "tcp_mtu_probe_floor": (48, 48, 65535),
        "tcp_mtu_probing": (0, *u8),
        "tcp_no_metrics_save": (0, *u8),
        "tcp_no_ssthresh_metrics_save": (1, *flag),
        "tcp_notsent_lowat": (UINT_MAX, 0, UINT_MAX),
        "tcp_orphan_retries": (0, *u8),
        "tcp_pacing_ca_ratio": (120, 0, 1000),
        "tcp_pacing_ss_ratio": (200, 0, 1000),
        "tcp_pingpong_thresh": (1, 1, 255),
        "tcp_probe_interval": (600, 0, UINT_MAX),
        "tcp_probe_threshold": (8, *count),
        "tcp_recovery": (1, *u8),
        "tcp_reflect_tos": (0, *flag),
        "tcp_reordering": (3, *count),
        "tcp_retrans_collapse": (1, *u8),
        "tcp_retries1": (3, 0, 255),
        "tcp_retries2": (15, *u8),
        "tcp_rfc1337": (0, *u8),
        "tcp_rmem": ((4096, 131_072, 15 << 20), 1, INT_MAX),  # window scale 8, as the public script suites set it
        "tcp_rto_max_ms": (120_000, 1000, 120_000),
        "tcp_rto_min_us": (200_000, 1, INT_MAX),
        "tcp_sack": (1, *u8),
        "tcp_shrink_window": (0, *flag),
        "tcp_slow_start_after_idle": (1, *u8),
        "tcp_stdurg": (0, *u8),
        "tcp_syn_linear_timeouts": (4, 0, 127),
        "tcp_syn_retries": (6, 1, 127),
        "tcp_synack_retries": (5, *u8),
        "tcp_syncookies": (1, *u8),
        "tcp_thin_linear_timeouts": (0, *u8),
        "tcp_timestamps": (1, 0, 2),
        "tcp_tso_rtt_log": (9, *u8),
        "tcp_tso_win_divisor": (3, *u8),
        "tcp_tw_reuse": (2, 0, 2),
        "tcp_tw_reuse_delay": (1000, 1, INT_MAX),
        "tcp_window_scaling": (1, *u8),
        "tcp_wmem": ((4096, 16_384, 4_194_304), 1, INT_MAX),
        "tcp_workaround_signed_windows": (0, *u8),
        "udp_early_demux": (1, *u8),
        "udp_mem": ((186_531, 248_710, 373_062), 0, 2**63 - 1),
        "udp_rmem_min": (4096, 1, INT_MAX),
        "udp_wmem_min": (4096, 1, INT_MAX),
        "icmp_echo_enable_probe": (0, *flag),
        "icmp_echo_ignore_all": (0, *flag),
        "icmp_echo_ignore_broadcasts": (1, *flag),
        "icmp_errors_use_inbound_ifaddr": (0, *flag),
        "icmp_ignore_bogus_error_responses": (1, *flag),
        "icmp_msgs_burst": (50, *count),
        "icmp_msgs_per_sec": (1000, *count),
        "icmp_ratelimit": (1000, *count),
        "icmp_ratemask": (6168, 0, UINT_MAX),
        "ip_autobind_reuse": (0, *flag),
        "ip_default_ttl": (64, 1, 255),
        "ip_forward": (0, *flag),
        "ip_forward_use_pmtu": (0, *u8),
        "ip_local_port_range": ((32768, 60999), 1, 65535),
        "ip_no_pmtu_disc": (0, 0, 3),
        "ip_nonlocal_bind": (0, *flag),
        "ip_unprivileged_port_start": (1024, 0, 65535),
        "ipfrag_high_thresh": (4 << 20, 0, 2**63 - 1),
        "ipfrag_low_thresh": (3 << 20, 0, 2**63 - 1),
        "ipfrag_max_dist": (64, *count),
        "ipfrag_time": (30, *count),
        "ping_group_range": ((1, 0), 0, UINT_MAX),
    })  # fmt: skip
    add("net.core.", "", {
        "busy_poll": (0, *count),
        "default_qdisc": ("pfifo_fast", 0, 0),
        "netdev_max_backlog": (1000, *count),
        "optmem_max": (131_072, *count),
        "rmem_default": (212_992, 2304, INT_MAX),
        "rmem_max": (4 << 20, 2304, INT_MAX),
        "somaxconn": (4096, *count),
        "wmem_default": (212_992, 4608, INT_MAX),
        "wmem_max": (4 << 20, 4608, INT_MAX),
    })  # fmt: skip
    add("net.ipv4.route.", "route_", {
        "min_adv_mss": (256, *count),
        "min_pmtu": (552, 68, INT_MAX),
        "mtu_expires": (600, *count),
    })  # fmt: skip
    add("net.ipv4.conf.all.", "conf_", {
        "accept_local": (0, *flag),
        "accept_redirects": (1, *flag),
        "accept_source_route": (0, *flag),
        "arp_accept": (0, 0, 2),
        "arp_announce": (0, 0, 2),
        "arp_filter": (0, *flag),
        "arp_ignore": (0, 0, 8),
        "drop_gratuitous_arp": (0, *flag),
        "route_localnet": (0, *flag),
        "rp_filter": (0, 0, 2),
        "send_redirects": (1, *flag),
    })  # fmt: skip
    neighbour = {
        "app_solicit": (0, *count),
        "base_reachable_time_ms": (30_000, *count),
        "delay_first_probe_time": (5, *count),
        "gc_interval": (30, *count),
        "gc_stale_time": (60, *count),
        "gc_thresh1": (128, *count),
        "gc_thresh2": (512, *count),
        "gc_thresh3": (1024, *count),
        "locktime": (100, *count),
        "mcast_solicit": (3, *count),
        "retrans_time_ms": (1000, 1, INT_MAX),
        "ucast_solicit": (3, *count),
        "unres_qlen_bytes": (212_992, *count),
    }  # fmt: skip
    add("net.ipv4.neigh.default.", "neigh_", dict(neighbour))
    add("net.ipv6.neigh.default.", "neigh6_", {**neighbour, "locktime": (0, *count)})
    add("net.ipv6.", "ipv6_", {
        "bindv6only": (0, *flag),
        "ip6frag_high_thresh": (4 << 20, 0, 2**63 - 1),
        "ip6frag_low_thresh": (3 << 20, 0, 2**63 - 1),
        "ip6frag_time": (60, *count),
        "auto_flowlabels": (1, 0, 3),
        "flowlabel_consistency": (1, *flag),
        "max_dst_opts_number": (8, -INT_MAX, INT_MAX),
        "max_hbh_opts_number": (8, -INT_MAX, INT_MAX),
        "max_dst_opts_length": (INT_MAX, *count),
        "max_hbh_length": (INT_MAX, *count),
    })  # fmt: skip
    add("net.ipv6.icmp.", "icmp6_", {
        "ratelimit": (100, *count),
        "echo_ignore_all": (0, *flag),
        "echo_ignore_multicast": (0, *flag),
    })  # fmt: skip
    add("net.ipv6.route.", "route6_", {"min_adv_mss": (1220, *count), "mtu_expires": (600, *count)})
    add("net.ipv6.conf.all.", "conf6_", {
        "accept_dad": (0, -1, 2),                       # Linux: 1; 0 lets a new address be used at once
        "accept_ra": (1, 0, 2),
        "accept_redirects": (1, *flag),
        "autoconf": (1, *flag),
        "dad_transmits": (1, *count),
        "disable_ipv6": (0, *flag),
        "forwarding": (0, *flag),
        "hop_limit": (64, 1, 255),
        "mtu": (1280, 1280, INT_MAX),
    })  # fmt: skip
    add("terrella.", "", {
        "tcp_init_cwnd": (10, 1, 65535),                # RFC 6928 section 2
        "tcp_timeout_init_ms": (1000, 1, INT_MAX),      # RFC 6298 (2.1)
        "tcp_timewait_len_ms": (60_000, 1, INT_MAX),    # 2 MSL: Linux's TCP_TIMEWAIT_LEN; the profile `rfc` has 240 s
        "tcp_delack_min_ms": (40, 0, 500),              # Linux's; RFC 9293 section 3.8.6.3: less than 500 ms
        "tcp_clock_granularity_us": (1000, 0, 1_000_000),   # G of RFC 6298, used where a round trip measures as 0
        "tcp_delack_max_ms": (200, 0, 500),
        "tcp_quickack_segs": (16, 0, 65535),            # ACKs sent at once at the start of a connection
        "tcp_max_quickacks": (16, 0, 65535),
        "neigh_queue_total_bytes": (4 << 20, 0, INT_MAX),  # of all unresolved neighbours together
        "txqueuelen": (1000, 1, INT_MAX),
    })  # fmt: skip
    return table


SETTINGS = _table()
_BY_ATTRIBUTE = {spec.attribute: spec for spec in SETTINGS.values()}

# What the RFCs recommend where Linux's taste differs.
RFC_PROFILE: dict[str, Value] = {
    "net.ipv4.tcp_congestion_control": "reno",
    "net.ipv4.tcp_rto_min_us": 1_000_000,         # RFC 6298 (2.4)
    "net.ipv4.tcp_syn_linear_timeouts": 0,        # RFC 6298 (5.5): back off from the first one on
    "net.ipv4.tcp_autocorking": 0,
    "net.ipv4.tcp_comp_sack_nr": 0,
    "net.ipv4.tcp_tw_reuse": 0,
    "net.ipv4.tcp_rfc1337": 1,                    # RFC 1337: a RST does not end TIME-WAIT
    "net.ipv4.tcp_challenge_ack_limit": 1000,     # RFC 5961 section 7
    "net.ipv4.tcp_workaround_signed_windows": 0,
    "terrella.tcp_timewait_len_ms": 240_000,      # RFC 9293 section 3.4.2: an MSL is 2 minutes
    "terrella.tcp_delack_min_ms": 200,
    "terrella.tcp_quickack_segs": 0,
    "terrella.tcp_max_quickacks": 0,
}  # fmt: skip

PROFILES: dict[str, dict[str, Value]] = {"linux": {}, "rfc": RFC_PROFILE}

# Linux has one value per interface and a default; here all three spellings are one value.
_ALIASES = {"net.ipv4.conf.default.": "net.ipv4.conf.all.", "net.ipv6.conf.default.": "net.ipv6.conf.all."}


class Settings:
    """The values in force. Changing one through `set` (or by assigning the attribute) checks it."""

    if TYPE_CHECKING:

        def __getattr__(self, attribute: str) -> Any: ...

    def __init__(self, profile: str = "linux", **values: object) -> None:
        if profile not in PROFILES:
            raise KeyError(f"no settings profile {profile!r}: there are {', '.join(PROFILES)}")
        self.__dict__["profile"] = profile
        self.__dict__["followers"] = []
        for spec in SETTINGS.values():
            self.__dict__[spec.attribute] = spec.default
        for name, value in PROFILES[profile].items():
            self.set(name, value)
        for name, given in values.items():
            self.set(name, given)

    @staticmethod
    def spec(name: str) -> Spec:
        """The setting of that sysctl name ("/" for "." as sysctl allows); KeyError with the nearest name."""
        name = name.replace("/", ".")
        for alias, real in _ALIASES.items():
            if name.startswith(alias):
                name = real + name[len(alias) :]
        found = SETTINGS.get(name)
        if found is None:
            near = difflib.get_close_matches(name, SETTINGS, n=1)
            raise KeyError(f"no setting {name!r}" + (f": did you mean {near[0]}?" if near else ""))
        return found

    def get(self, name: str) -> Value:
        value: Value = self.__dict__[self.spec(name).attribute]
        return value

    def set(self, name: str, value: object) -> None:
        spec = self.spec(name)
        checked = spec.check(value)
        if spec.attribute == "ip_local_port_range":
            assert isinstance(checked, tuple)
            if checked[0] > checked[1]:
                raise spec.refuse(value, "the first port is above the last")
        self.__dict__[spec.attribute] = checked
        for follower in self.__dict__["followers"]:
            follower(spec.attribute, checked)

    def follow(self, follower: Callable[[str, Value], None]) -> None:
        """Have it called with the attribute and the new value of each setting that is set from now on."""
        self.__dict__["followers"].append(follower)

    def __setattr__(self, attribute: str, value: object) -> None:
        spec = _BY_ATTRIBUTE.get(attribute)
        if spec is None:
            raise AttributeError(f"no setting has the attribute {attribute!r}")
        self.set(spec.name, value)

    def as_dict(self) -> dict[str, Value]:
        """Every sysctl name with its value."""
        return {name: self.__dict__[spec.attribute] for name, spec in SETTINGS.items()}

    def copy(self) -> Settings:
        other = Settings(self.__dict__["profile"])
        other.__dict__.update(self.__dict__, followers=[])
        return other
