/*
 * The simulated flow of tools/bench/simulate.py in ns-3: what a discrete-event simulator in C++ gets through.
 *
 *     ns3_peer MEGABYTES FLOWS CAPTURE
 *
 * Two hosts, one link of 100 Mbit/s and 20 ms each way that loses 0.1 % of the frames of either direction, queues of
 * 1000 frames, segments of 1448 bytes, SACK, timestamps and delayed acknowledgments, cubic; FLOWS connections carry
 * MEGABYTES between them, and a capture holds every frame of the receiver. Prints one line of JSON.
 */
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "ns3/applications-module.h"
#include "ns3/core-module.h"
#include "ns3/internet-module.h"
#include "ns3/network-module.h"
#include "ns3/point-to-point-module.h"

using namespace ns3;

int
main(int argc, char** argv)
{
    if (argc != 4)
    {
        std::fprintf(stderr, "usage: ns3_peer MEGABYTES FLOWS CAPTURE\n");
        return 2;
    }
    const uint64_t total = static_cast<uint64_t>(std::atof(argv[1]) * 1e6);
    const uint32_t flows = std::atoi(argv[2]);
    const uint16_t port = 5001;
    const uint32_t mss = 1448;

    Config::SetDefault("ns3::TcpL4Protocol::SocketType", TypeIdValue(TcpCubic::GetTypeId()));
    Config::SetDefault("ns3::TcpSocket::SegmentSize", UintegerValue(mss));
    Config::SetDefault("ns3::TcpSocket::InitialCwnd", UintegerValue(10));
    Config::SetDefault("ns3::TcpSocket::DelAckCount", UintegerValue(2));
    Config::SetDefault("ns3::TcpSocket::SndBufSize", UintegerValue(4 << 20));
    Config::SetDefault("ns3::TcpSocket::RcvBufSize", UintegerValue(6 << 20));
    Config::SetDefault("ns3::TcpSocketBase::Sack", BooleanValue(true));
    Config::SetDefault("ns3::TcpSocketBase::Timestamp", BooleanValue(true));
    RngSeedManager::SetSeed(1);

    NodeContainer nodes;
    nodes.Create(2);
    PointToPointHelper link;
    link.SetDeviceAttribute("DataRate", StringValue("100Mbps"));
    link.SetChannelAttribute("Delay", StringValue("20ms"));
    link.SetQueue("ns3::DropTailQueue", "MaxSize", StringValue("1000p"));
    NetDeviceContainer devices = link.Install(nodes);
    for (uint32_t i = 0; i < 2; i++)
    {
        Ptr<RateErrorModel> loss = CreateObject<RateErrorModel>();
        loss->SetUnit(RateErrorModel::ERROR_UNIT_PACKET);
        loss->SetRate(0.001);
        devices.Get(i)->SetAttribute("ReceiveErrorModel", PointerValue(loss));
    }
    InternetStackHelper internet;
    internet.Install(nodes);
    Ipv4AddressHelper addresses;
    addresses.SetBase("10.0.0.0", "255.255.255.0");
    Ipv4InterfaceContainer interfaces = addresses.Assign(devices);

    PacketSinkHelper sink("ns3::TcpSocketFactory", InetSocketAddress(Ipv4Address::GetAny(), port));
    ApplicationContainer sinks = sink.Install(nodes.Get(1));
    BulkSendHelper source("ns3::TcpSocketFactory", InetSocketAddress(interfaces.GetAddress(1), port));
    source.SetAttribute("SendSize", UintegerValue(65536));
    const uint64_t share = total / flows;
    for (uint32_t i = 0; i < flows; i++)
    {
        source.SetAttribute("MaxBytes", UintegerValue(i ? share : total - share * (flows - 1)));
        source.Install(nodes.Get(0));
    }
    link.EnablePcap(argv[3], devices.Get(1), true, true);

    const auto start = std::chrono::steady_clock::now();
    Simulator::Stop(Seconds(3600));
    Ptr<PacketSink> end = DynamicCast<PacketSink>(sinks.Get(0));
    Simulator::Run();
    const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - start;
    const uint64_t received = end->GetTotalRx();
    Simulator::Destroy();
    if (received != total)
    {
        std::fprintf(stderr, "ns3_peer: %llu of %llu bytes arrived\n", static_cast<unsigned long long>(received),
                     static_cast<unsigned long long>(total));
        return 1;
    }
    std::printf("{\"bytes\": %llu, \"segments\": %.1f, \"wall_s\": %.6f}\n", static_cast<unsigned long long>(total),
                static_cast<double>(total) / mss, wall.count());
    return 0;
}
