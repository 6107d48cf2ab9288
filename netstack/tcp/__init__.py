"""TCP (RFC 9293), one file per concern: `engine.Tcp` is what the stack holds, `socket.TcpSocket` what the user has.

In the order of RFC 9293, with the RFCs that complete it:

    3.1, 3.2   segment (received), emit (sent)
    3.3        tcb (the variables), fsm (the states)
    3.4        seq; engine (initial sequence numbers: RFC 6528)
    3.5        handshake, listener and guard (SYN cookies: RFC 4987), options (RFC 6691, 7323, 2018), inherit, savesyn
    3.6        timewait (RFC 1337, 6191)
    3.7        options (MSS), pmtu (RFC 1191, 8201), mtuprobe (RFC 4821), output (Nagle), sendbuf
    3.8.1      rto (RFC 6298), scoreboard (RFC 2018, 6675), rack (RFC 8985), recovery (RFC 5682, 6582, 6937 and others)
    3.8.2      congestion (RFC 5681, 9438), recovery (ECN: RFC 3168), validation (RFC 2861), pacing, rate, congested
    3.8.3      timeouts (RFC 5482, 6069), and 3.8.4 (keepalive)
    3.8.5      recvbuf (urgent data: RFC 6093)
    3.8.6      output and burst (what may be sent), persist, window (RFC 7323), delack (when to acknowledge)
    3.9.1      socket, sockopt, sendbuf, recvbuf, ports; what the user can ask: info, stats, chrono, beside, why
    3.9.2      engine and timeouts (ICMP: RFC 5927), pmtu, screen (TTL: RFC 5082)
    3.10.1     opening, handshake, emit (the SYN); 3.10.2 to 3.10.6, the other calls: socket, connection, fsm (ABORT)
    3.10.7     engine (CLOSED), listener (LISTEN), fsm (the other states), timewait; predict (RFC 7323 section 5.6), ack
               (fifth step), recvbuf (sixth step), reassembly (seventh step; ECN's echo: RFC 3168)
    3.10.8     timeouts
"""
