"""`python -m returns_service`: the same as `returns-service`."""

from returns_service.cli import main

main()
