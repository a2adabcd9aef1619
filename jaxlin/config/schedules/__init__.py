"""Config classes of the schedules, one file a kind; found by being here."""
