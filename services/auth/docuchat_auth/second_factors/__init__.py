"""Second factors: codes of an authenticator app, recovery codes, and who must have one."""
