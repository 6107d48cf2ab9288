"""Counters, named as /proc/net/snmp, /proc/net/netstat and /proc/net/snmp6 name them.

`counters.ip.InReceives += 1` is a slot access, cheap enough for every packet. The groups `Ip` to `Udp6` mean what
they mean on Linux. Three groups are this stack's own. `Arp`. `Reject`: each packet that the stack throws away below
the transport protocols increments exactly one counter of it, besides whatever Linux's own counters say about it.
`ErrQueue`: what a socket's error queue (`control.py`) had no room for, errors and time stamps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar


class Group:
    """A named group of counters, all starting at 0."""

    __slots__ = ()
    names: ClassVar[tuple[str, ...]] = ()

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> int: ...

        def __setattr__(self, name: str, value: int) -> None: ...

    def __init__(self) -> None:
        for name in self.names:
            setattr(self, name, 0)

    def as_dict(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in self.names}


_ICMP = """
    InMsgs InErrors InCsumErrors InDestUnreachs InTimeExcds InParmProbs InSrcQuenchs InRedirects InEchos
    InEchoReps InTimestamps InTimestampReps InAddrMasks InAddrMaskReps OutMsgs OutErrors OutRateLimitGlobal
    OutRateLimitHost OutDestUnreachs OutTimeExcds OutParmProbs OutSrcQuenchs OutRedirects OutEchos OutEchoReps
    OutTimestamps OutTimestampReps OutAddrMasks OutAddrMaskReps
"""

_TCPEXT = """
    SyncookiesSent SyncookiesRecv SyncookiesFailed EmbryonicRsts PruneCalled RcvPruned OfoPruned
    OutOfWindowIcmps LockDroppedIcmps ArpFilter TW TWRecycled TWKilled PAWSActive PAWSEstab BeyondWindow
    TSEcrRejected PAWSOldAck PAWSTimewait DelayedACKs DelayedACKLocked DelayedACKLost ListenOverflows
    ListenDrops TCPHPHits TCPPureAcks TCPHPAcks TCPRenoRecovery TCPSackRecovery TCPSACKReneging TCPSACKReorder
    TCPRenoReorder TCPTSReorder TCPFullUndo TCPPartialUndo TCPDSACKUndo TCPLossUndo TCPLostRetransmit
    TCPRenoFailures TCPSackFailures TCPLossFailures TCPFastRetrans TCPSlowStartRetrans TCPTimeouts TCPLossProbes
    TCPLossProbeRecovery TCPRenoRecoveryFail TCPSackRecoveryFail TCPRcvCollapsed TCPBacklogCoalesce
    TCPDSACKOldSent TCPDSACKOfoSent TCPDSACKRecv TCPDSACKOfoRecv TCPAbortOnData TCPAbortOnClose TCPAbortOnMemory
    TCPAbortOnTimeout TCPAbortOnLinger TCPAbortFailed TCPMemoryPressures TCPMemoryPressuresChrono TCPSACKDiscard
    TCPDSACKIgnoredOld TCPDSACKIgnoredNoUndo TCPSpuriousRTOs TCPMD5NotFound TCPMD5Unexpected TCPMD5Failure
    TCPSackShifted TCPSackMerged TCPSackShiftFallback TCPBacklogDrop PFMemallocDrop TCPMinTTLDrop
    TCPDeferAcceptDrop IPReversePathFilter TCPTimeWaitOverflow TCPReqQFullDoCookies TCPReqQFullDrop
    TCPRetransFail TCPRcvCoalesce TCPOFOQueue TCPOFODrop TCPOFOMerge TCPChallengeACK TCPSYNChallenge
    TCPFastOpenActive TCPFastOpenActiveFail TCPFastOpenPassive TCPFastOpenPassiveFail TCPFastOpenListenOverflow
    TCPFastOpenCookieReqd TCPFastOpenBlackhole TCPSpuriousRtxHostQueues BusyPollRxPackets TCPAutoCorking
    TCPFromZeroWindowAdv TCPToZeroWindowAdv TCPWantZeroWindowAdv TCPSynRetrans TCPOrigDataSent
    TCPHystartTrainDetect TCPHystartTrainCwnd TCPHystartDelayDetect TCPHystartDelayCwnd TCPACKSkippedSynRecv
    TCPACKSkippedPAWS TCPACKSkippedSeq TCPACKSkippedFinWait2 TCPACKSkippedTimeWait TCPACKSkippedChallenge
    TCPWinProbe TCPKeepAlive TCPMTUPFail TCPMTUPSuccess TCPDelivered TCPDeliveredCE TCPAckCompressed
    TCPZeroWindowDrop TCPRcvQDrop TCPWqueueTooBig TCPFastOpenPassiveAltKey TcpTimeoutRehash
    TcpDuplicateDataRehash TCPDSACKRecvSegs TCPDSACKIgnoredDubious TCPMigrateReqSuccess TCPMigrateReqFailure
    TCPPLBRehash TCPAORequired TCPAOBad TCPAOKeyNotFound TCPAOGood TCPAODroppedIcmps
"""

_UDP = "InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti MemErrors"

# One per reason to throw a packet away. Eth*, Ip* and Icmp* are about the packet; the rest about us.
_REJECT = """
    EthShort EthOtherHost EthTypeUnknown FrameType IpShort IpTruncated IpVersion IpHeaderLen IpChecksum IpOptions
    SourceRoute MartianSource MartianDestination NotForUs NoRoute ProtocolUnknown TransportNotHost FragmentEmpty
    FragmentTooLong FragmentInconsistent FragmentOverlap FragmentDuplicate FragmentMemory FragmentTimeout
    FragmentDistance IcmpShort IcmpChecksum IcmpTypeUnknown IcmpQuoteBad IcmpNotMatched IcmpBroadcast IcmpIgnored
    UdpShort UdpChecksum UdpNoPort UdpRcvbuf TcpShort TcpOffset TcpChecksum RawRcvbuf ArpShort ArpFormat ArpSender
    ArpNotForUs ArpUnsolicited ArpLocked Ip6Disabled Ip6Option Ip6Extension Ip6NextHeader Ip6NoNextHeader
    FragmentHeaders HopLimit TooBig NotForwarded NdpBad NdpNotForUs NdpUnsolicited NdpRouter NdpDuplicate PacketRcvbuf
    NeighbourFull NeighbourQueue NeighbourFailed TxQueue LoopbackQueue OutTooBig SocketFilter
    GuardNeighbour GuardTcp GuardUdp GuardIcmp GuardFragment GuardOther
"""

_IP = """
    Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams InUnknownProtos InDiscards InDelivers
    OutRequests OutDiscards OutNoRoutes ReasmTimeout ReasmReqds ReasmOKs ReasmFails FragOKs FragFails FragCreates
    OutTransmits
"""

_TCP = """
    RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs OutSegs
    RetransSegs InErrs OutRsts InCsumErrors
"""

_IPEXT = """
    InNoRoutes InTruncatedPkts InMcastPkts OutMcastPkts InBcastPkts OutBcastPkts InOctets OutOctets InMcastOctets
    OutMcastOctets InBcastOctets OutBcastOctets InCsumErrors InNoECTPkts InECT1Pkts InECT0Pkts InCEPkts
    ReasmOverlaps
"""

_IP6 = """
    InReceives InHdrErrors InTooBigErrors InNoRoutes InAddrErrors InUnknownProtos InTruncatedPkts InDiscards
    InDelivers OutForwDatagrams OutRequests OutDiscards OutNoRoutes ReasmTimeout ReasmReqds ReasmOKs ReasmFails
    FragOKs FragFails FragCreates InMcastPkts OutMcastPkts InOctets OutOctets InMcastOctets OutMcastOctets
    InBcastOctets OutBcastOctets InNoECTPkts InECT1Pkts InECT0Pkts InCEPkts OutTransmits
"""

_ICMP6 = """
    InMsgs InErrors OutMsgs OutErrors InCsumErrors OutRateLimitHost InDestUnreachs InPktTooBigs InTimeExcds
    InParmProblems InEchos InEchoReplies InGroupMembQueries InGroupMembResponses InGroupMembReductions
    InRouterSolicits InRouterAdvertisements InNeighborSolicits InNeighborAdvertisements InRedirects InMLDv2Reports
    OutDestUnreachs OutPktTooBigs OutTimeExcds OutParmProblems OutEchos OutEchoReplies OutGroupMembQueries
    OutGroupMembResponses OutGroupMembReductions OutRouterSolicits OutRouterAdvertisements OutNeighborSolicits
    OutNeighborAdvertisements OutRedirects OutMLDv2Reports
"""

_ERRQUEUE = "ErrorsDropped StampsDropped"

_ARP = """
    InRequests InReplies OutRequests OutReplies Conflicts Entries Evicted Failures
"""


class IpCounters(Group):
    names = tuple(_IP.split())
    __slots__ = names


class IcmpCounters(Group):
    names = tuple(_ICMP.split())
    __slots__ = names


class TcpCounters(Group):
    names = tuple(_TCP.split())
    __slots__ = names


class UdpCounters(Group):
    names = tuple(_UDP.split())
    __slots__ = names


class TcpExtCounters(Group):
    names = tuple(_TCPEXT.split())
    __slots__ = names


class IpExtCounters(Group):
    names = tuple(_IPEXT.split())
    __slots__ = names


class Ip6Counters(Group):
    names = tuple(_IP6.split())
    __slots__ = names


class Icmp6Counters(Group):
    names = tuple(_ICMP6.split())
    __slots__ = names


class Udp6Counters(Group):
    names = tuple(_UDP.split())
    __slots__ = names


class ArpCounters(Group):
    names = tuple(_ARP.split())
    __slots__ = names


class RejectCounters(Group):
    names = tuple(_REJECT.split())
    __slots__ = names


class ErrQueueCounters(Group):
    names = tuple(_ERRQUEUE.split())
    __slots__ = names


GROUPS: dict[str, type[Group]] = {
    "Ip": IpCounters,
    "Icmp": IcmpCounters,
    "Tcp": TcpCounters,
    "Udp": UdpCounters,
    "TcpExt": TcpExtCounters,
    "IpExt": IpExtCounters,
    "Ip6": Ip6Counters,
    "Icmp6": Icmp6Counters,
    "Udp6": Udp6Counters,
    "Arp": ArpCounters,
    "Reject": RejectCounters,
    "ErrQueue": ErrQueueCounters,
}


class Counters:
    """All groups; the attribute of a group is its name in lower case."""

    __slots__ = (
        "arp", "errqueue", "icmp", "icmp6", "icmp6msg", "icmpmsg", "ip", "ip6", "ipext", "reject", "tcp", "tcpext",
        "udp", "udp6",
    )  # fmt: skip

    def __init__(self) -> None:
        self.ip = IpCounters()
        self.icmp = IcmpCounters()
        self.tcp = TcpCounters()
        self.udp = UdpCounters()
        self.tcpext = TcpExtCounters()
        self.ipext = IpExtCounters()
        self.ip6 = Ip6Counters()
        self.icmp6 = Icmp6Counters()
        self.udp6 = Udp6Counters()
        self.arp = ArpCounters()
        self.reject = RejectCounters()
        self.errqueue = ErrQueueCounters()
        self.icmpmsg: dict[str, int] = {}
        self.icmp6msg: dict[str, int] = {}
        # RFC 4022's constants, as Linux shows them: RtoAlgorithm 1 is "other", RtoMin/Max in ms, MaxConn dynamic.
        self.tcp.RtoAlgorithm = 1
        self.tcp.RtoMin = 200
        self.tcp.RtoMax = 120_000
        self.tcp.MaxConn = -1
        self.ip.Forwarding = 2
        self.ip.DefaultTTL = 64

    def count_type(self, table: str, name: str) -> None:
        """One more ICMP message of that name ("InType8") in `icmpmsg` or `icmp6msg`."""
        counts: dict[str, int] = getattr(self, table)
        counts[name] = counts.get(name, 0) + 1

    def as_dict(self) -> dict[str, dict[str, int]]:
        """{group: {counter: value}}, groups and counters in the order of the files in /proc."""
        result: dict[str, dict[str, int]] = {}
        for title in GROUPS:
            group: Any = getattr(self, title.lower())
            result[title] = group.as_dict()
            if title == "Icmp":
                result["IcmpMsg"] = dict(sorted(self.icmpmsg.items()))
            elif title == "Icmp6":
                result["Icmp6Msg"] = dict(sorted(self.icmp6msg.items()))
        return result
