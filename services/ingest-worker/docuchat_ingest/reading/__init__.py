"""Text out of documents, page by page, in a child process that may crash, hang or swell without harm to the worker.

`process.pool` is the worker's side; everything that the child itself imports (`process.child`, `formats` and the
readers) stays on the standard library, pypdfium2's raw binding and pypdf: a small process that starts fast.
"""
