"""Models, wired from config."""
