"""What is the structure after a step? Functions from model to model that leave their input alone."""
