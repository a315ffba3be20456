"""Depth pruning: residual blocks, what they are worth, and how the blocks behind take over."""
