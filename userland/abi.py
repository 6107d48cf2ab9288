"""Linux's constants for programs: `from userland.abi import *` gives what `<errno.h>`, `<fcntl.h>`,
`<sys/socket.h>` ... give in C.
"""

from kernel.abi import *  # noqa: F403
