"""Schema `knowledge`: collections, documents, chunks, and the only SQL on them.

The gateway registers documents (`documents`), the ingest worker fills them (`jobs`), chat reads them (`search`): three
database roles with the least grants each of them needs. Every class takes the connection of the caller's unit of
work, so that its effects share that transaction.
"""
