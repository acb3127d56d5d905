"""Text out of documents, page by page, in a child process that may crash, hang or swell without harm to the worker.

`parser_process` is the worker's side; everything that the child itself imports (`child`, `pdf`, `right_to_left`)
stays on the standard library, pypdfium2's raw binding and, for the rare page that needs it, pypdf: a small process
that starts fast.
"""
