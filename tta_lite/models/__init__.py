"""What is the network? Functions from tensor to tensor, one file a family."""
