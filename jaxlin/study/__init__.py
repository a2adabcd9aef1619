"""Runs side by side: what they recorded, as a page."""
