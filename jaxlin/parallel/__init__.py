"""The device mesh, logical-axis rules, and what follows from them for each array."""
