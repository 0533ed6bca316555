"""The endpoints of the API, a file a resource.

Each handler checks its parameters and returns a function that performs the call. Idempotency lies between the two: a
caller may send a request again with the same key if the check refused it, but not if the performance refused it.
"""
