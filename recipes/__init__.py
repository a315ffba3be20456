"""Thin absl binaries: flags, one library call, ``app.run``."""
