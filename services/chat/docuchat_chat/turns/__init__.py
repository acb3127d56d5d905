"""A question and its answer, from asking to the books."""
