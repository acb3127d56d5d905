"""`python -m docuchat_client.cli`."""

from docuchat_client.cli import main

main()
