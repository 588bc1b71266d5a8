"""One file per command, each with ``add_parser(subparsers)`` and ``run(args) -> exit code``; ``site_*`` are parts of
one."""
