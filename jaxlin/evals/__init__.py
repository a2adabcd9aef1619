"""What a trained model is worth: held-out loss, baselines, generation."""
