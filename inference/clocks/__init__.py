"""The clocks of the views: which moment of the take a frame of each view shows, found from the motion."""
