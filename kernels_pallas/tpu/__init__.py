"""The chunked recurrence on TPU: one kernel family for every decay and both write rules."""
