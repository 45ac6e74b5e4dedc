"""Parameters of an adaptation and the variants that it is compared with."""
