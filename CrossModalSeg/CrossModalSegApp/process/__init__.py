"""The processes that compute: the worker, commands of the library, how they are started, followed and ended."""
