"""The one public port: identity, limits, uploads, streaming, proxy."""
