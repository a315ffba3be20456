"""Architecture search: spaces as data, the networks of their points, what a point is worth and what it costs."""
