"""Compare methods: scores, tests, ranks and statements."""
