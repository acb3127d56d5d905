"""Texts of pages to chunks that can be embedded, searched and cited."""
