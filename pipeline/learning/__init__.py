"""One step of a training: its parameters, the network with its options and ablations, and the learner."""
