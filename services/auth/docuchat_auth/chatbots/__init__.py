"""Chatbots as auth knows them: their keys, and the visitors of the pages that show them."""
