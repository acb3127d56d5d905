"""The Model Context Protocol: an assistant's tools on what its user may read and ask."""
