"""Sessions: token pairs, and refresh tokens that rotate."""
