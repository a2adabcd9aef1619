"""What a trained or training model does inside."""
