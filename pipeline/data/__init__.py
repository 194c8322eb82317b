"""What flows go from and to: measures and sets of images, how they are prepared, read and streamed."""
