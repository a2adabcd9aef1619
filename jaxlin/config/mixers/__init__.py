"""Config classes of the mixers, one file a kind; found by being here."""
