"""Config classes of the sources, one file a kind; found by being here."""
