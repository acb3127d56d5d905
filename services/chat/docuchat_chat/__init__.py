"""DocuChat's chat service: streams cited answers and meters every token."""
