"""Random scripts, run against this stack and against the host's Linux, and what came out compared.

`scenario` makes them, `record` runs one and notes everything that came out, `judge` compares two such records, and
`command` (`python -m tools.packetdrill.differential`) runs many.
"""
