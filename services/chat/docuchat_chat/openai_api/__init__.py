"""What OpenAI's clients ask for, answered by what answers all other questions."""
