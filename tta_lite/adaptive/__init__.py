"""Networks whose cost changes while they run: what their modes cost and reach, and which one the moment can bear."""
