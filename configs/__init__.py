"""Presets: functions that return a RunConfig, one file a family.

A preset's docstring says what it is, the command that runs it, and its expected time if known.
"""
