"""What can stand where a Linear stands."""
