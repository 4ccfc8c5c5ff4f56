"""`python -m drystone` is the same as `drystone`."""

from drystone.main import main

main()
