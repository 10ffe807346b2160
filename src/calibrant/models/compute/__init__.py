"""What a model is computed on: device, number format, threads, memory."""
