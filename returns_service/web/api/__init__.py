"""The JSON API: requests in, answers out, the contract and the live stream."""
