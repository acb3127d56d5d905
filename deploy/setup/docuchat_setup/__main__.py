"""`python -m docuchat_setup`."""

from docuchat_setup.cli import app

if __name__ == "__main__":
    app(prog_name="python -m docuchat_setup")
