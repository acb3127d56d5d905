"""The ingest queue in the documents' rows: claims, writes under a claim, sweeps."""
