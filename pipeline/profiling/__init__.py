"""What a network costs: operations, time, memory."""
