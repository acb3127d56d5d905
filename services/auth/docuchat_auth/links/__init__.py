"""By which identity providers somebody can sign in: seen and cut."""
