"""Joint adversarial domain adaptation (JADA): marginal and conditional alignment that keeps topology."""
