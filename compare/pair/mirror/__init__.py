"""A torch model taken apart: each captured call beside the hand-written layer that is its twin."""
