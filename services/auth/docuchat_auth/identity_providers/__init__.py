"""Identity providers: a company's own directory, by which its people sign in."""
