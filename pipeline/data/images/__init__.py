"""Sets of images: what recipes know of them, how prepared ones are opened, decoded, shuffled and streamed."""
