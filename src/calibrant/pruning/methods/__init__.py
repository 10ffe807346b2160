"""What decides which weights go and which levels the others take, and how these parts make a method."""
