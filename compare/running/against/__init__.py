"""Two torches beside one hand-written side: the other one runs in a process of its own."""
