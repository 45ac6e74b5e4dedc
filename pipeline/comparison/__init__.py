"""The comparison of methods: scores, tests, ranks, and what may be said about them."""
