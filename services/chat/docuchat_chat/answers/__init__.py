"""What an answer is made of: passages, prompt, citations, quotes, notices."""
