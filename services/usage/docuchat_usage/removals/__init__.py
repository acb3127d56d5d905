"""What people are counted with, when they go."""
