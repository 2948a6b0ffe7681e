"""Teaching: gates traced, exercises graded, the kit that lessons are made with."""
