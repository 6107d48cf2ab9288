"""The little earth: whole Unix machines and the networks between them, in one process. `from terrella import Lab`."""

from terrella.lab import Host, Lab, LabError, Process

__all__ = ["Host", "Lab", "LabError", "Process"]
