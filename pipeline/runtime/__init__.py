"""Console, outputs, parallel work and resumable work: what every stage runs on."""
