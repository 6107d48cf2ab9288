"""/bin/sh."""

from userland.sh.main import main as main
