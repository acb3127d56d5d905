"""The parts of the synchronous client, written from those of the asynchronous one."""
