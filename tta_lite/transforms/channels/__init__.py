"""Which channels of a network must leave together, and the smaller network without them."""
