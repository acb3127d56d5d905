"""Paths of products whose clients are to find everything here: one file each, and the way from theirs to ours."""
