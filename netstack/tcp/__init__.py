"""TCP (RFC 9293), one file per concern; `engine.Tcp` is what the stack holds and `socket.TcpSocket` what the user
does.
"""
