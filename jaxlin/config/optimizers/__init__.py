"""Config classes of the optimizers, one file a kind; found by being here."""
