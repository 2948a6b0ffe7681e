"""A torch model taken apart: every captured call beside the hand-written layer that stands for it."""
