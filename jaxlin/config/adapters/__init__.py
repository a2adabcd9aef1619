"""Config classes of the adapters, one file a kind; found by being here."""
