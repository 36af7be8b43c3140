"""Teachers: drawings made by rule, without a network, for networks to learn. OpenCV and numpy."""
