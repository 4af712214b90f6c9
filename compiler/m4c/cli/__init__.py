"""The `m4` command. Each subcommand is a module with `run(args) -> int`, imported when it is used."""
