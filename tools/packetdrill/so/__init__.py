"""packetdrill's own program with a terrella machine under it: a shared object for its `--so_filename`.

`shim.c` is what packetdrill loads (`channel.c` the way to the machine, `preload.c` what it answers in place of the C
library), `build` compiles it, `server` is the machine at the other end.
"""
