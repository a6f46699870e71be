"""Webhooks in hosts that people have: an adapter for each web framework and serverless platform, in a file of its own.

Each has `webhook_callback(handler, token, options, ...)`, which gives what its host calls for a request: a view, a
route's handler, an application, a function. `asynchronous` and `synchronous` are what they share: the home of what
outlives a request, begun and ended with the host.
"""
