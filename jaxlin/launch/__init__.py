"""Starting one run on many processes: here, or as the commands and manifests of an engine."""
