"""`python -m docuchat_local`: the command `docuchat-local`."""

from docuchat_local.cli import main

main()
