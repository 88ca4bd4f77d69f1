"""`python -m service.cli`, where the command `wren` is not on the path."""

from service.cli.main import app

app(prog_name="wren")
