"""Quotas, holds, ledger and prices."""
