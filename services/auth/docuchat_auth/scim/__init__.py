"""SCIM 2.0: a company's directory makes, changes and closes accounts by itself."""
