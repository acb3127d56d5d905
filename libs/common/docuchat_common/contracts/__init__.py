"""What services say to each other over HTTP and in streams; both sides import it."""
