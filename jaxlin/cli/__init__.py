"""The command line: one file a command, with HELP, EXAMPLE, add(parser) and run(args) -> int."""
