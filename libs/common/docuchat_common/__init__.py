"""Mechanism and contracts that every DocuChat service shares; no business rule lives here."""
