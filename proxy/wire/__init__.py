"""The MySQL client/server protocol, sans-IO: bytes in, values or events out, and back.

Nothing here knows sockets or asyncio. Every reader takes what arrived, however it was cut, and raises one error,
`proxy.errors.ProtocolError`, when the peer broke the protocol.

frame     three bytes of length, a sequence id and a part of a payload
payload   what one or more frames carry: a command, a row, OK, ...
lenenc    a length-encoded integer or string
scramble  the twenty random bytes that a password is proven against
stage1    SHA1(password): with mysql_native_password, as good as the password; stage2 = SHA1(stage1) is what is stored
"""
