"""The world behind the ports, a file for each foreign system."""
