"""Which network of many: search over architectures, and shrinking one to a latency."""
