"""A network on a board: over SSH, adb, on this machine, or on an emulated processor."""
