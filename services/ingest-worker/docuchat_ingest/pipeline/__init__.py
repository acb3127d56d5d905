"""One document's way: fetched, read, cut into chunks, embedded, stored."""
