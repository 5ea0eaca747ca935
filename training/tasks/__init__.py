"""What the trainer trains: each task builds its data and model, and says what the loss is and how good the model is."""
